"""Studies on odd hospitals and odd settings: they end, and undefined stays undefined."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.errors import StudyError
from concilium.studies.assembly import method_of
from concilium.studies.configuration import Choice, MethodSettings
from concilium.studies.job import _better
from concilium.studies.results import exams, label_sets
from tests.studies.test_same_numbers import run
from tests.worlds import exams as made_exams


def study(folder: Path, changes: str = "", methods: str = "[methods.fedavg]") -> Path:
    """Three hospitals by a column: one of a single image, one of a single class, one whole."""
    whole = made_exams(150, 3, known=1.0)
    hospital = np.array(["one image"] + ["no findings"] * 29 + ["whole"] * 120)
    target = whole.target.astype(np.uint8)
    target[1:30] = 0
    part = np.array((["train"] * 6 + ["validation"] * 2 + ["test"] * 2) * 15)
    np.savez(
        folder / "features.npz",
        features=np.asarray(whole.images),
        labels=target,
        patient=np.arange(150),
        hospital=hospital,
        part=part,
        label_names=np.array(["a", "b", "c"]),
    )
    path = folder / "study.toml"
    path.write_text(
        f"""
title = "odd"
[data]
source = {{name = "feature_table", file = "features.npz", covariates = ["part"]}}
[split]
partitioner = {{name = "by_hospital", column = "hospital"}}
column = "part"
[network]
architecture = "linear"
[training]
rounds = 2
{changes or "learning_rates = [0.1]"}
{methods}
[evaluation]
bootstrap = 10
min_positives = 2
label_sets = [["a", "b"]]
"""
    )
    return path


def results(folder: Path, **options: str) -> dict[str, Any]:
    found = run(study(folder, **options), folder / "out")
    return {result["method"]: result for result in found}


@pytest.mark.slow
def test_hospitals_of_one_image_and_of_one_class_complete_every_method(tmp_path: Path) -> None:
    methods = "[methods.local_only]\nhead = 'newton'\n[methods.concilium]\n[methods.pooled_exact]"
    found = results(tmp_path, methods=methods)
    assert found.keys() == {"local_only", "concilium", "pooled_exact"}
    by_hospital = found["concilium"]["test"]["by_hospital"]
    assert by_hospital["one image"]["metrics"]["auroc"] == [None] * 3
    assert found["concilium"]["test"]["metrics"]["auroc"][0] > 0.6


@pytest.mark.slow
def test_a_learning_rate_that_diverges_loses_and_the_study_goes_on(tmp_path: Path) -> None:
    found = results(tmp_path, changes="learning_rates = [1e38, 0.1]")["fedavg"]
    assert found["learning_rates"]["1e+38"] is None
    assert found["learning_rates"]["0.1"] > 0


def test_a_defined_score_beats_an_undefined_one_and_the_first_undefined_stays() -> None:
    nan = math.nan
    assert _better(0.2, nan) and _better(0.3, 0.2)
    assert not _better(nan, nan) and not _better(nan, 0.2) and not _better(0.2, 0.2)


def test_recall_without_thresholds_is_undefined_not_zero() -> None:
    target = np.ones((12, 2))
    target[:6] = 0
    known = target >= 0
    sums = EvaluationSums.of(target * 4 - 2, target, known, np.arange(12), None, ((0, 1),))
    (found,) = label_sets(sums, ["a", "b"])
    assert math.isnan(found["recall"])
    assert math.isnan(exams(sums)["missed_findings_per_1000"])
    limits = [0.0, 0.0]
    sums = EvaluationSums.of(target * 4 - 2, target, known, np.arange(12), limits, ((0, 1),))
    assert label_sets(sums, ["a", "b"])[0]["recall"] == 1.0
    assert exams(sums)["missed_findings_per_1000"] == 0.0


def test_an_exact_head_is_refused_where_scores_are_not_log_odds() -> None:
    settings = MethodSettings(loss=Choice(name="softmax"), head=Choice(name="newton"))
    with pytest.raises(StudyError, match=r"not the scores of softmax.*leave the head out"):
        method_of("mixed", settings)
