"""One job: which learning rate is kept, on whose exams a model is trained, set and tested."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.data.dataset import Exams, Form
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.requests import StatisticsRequest
from concilium.joint.inference import ScoreMeaning
from concilium.labels.frequency_groups import frequency_groups
from concilium.labels.schema import LabelSchema
from concilium.orchestration.observers import silent
from concilium.orchestration.phases import asking
from concilium.studies.bench import Bench, Job, Parts, looking, of_hospitals
from concilium.studies.job import run_job
from concilium.studies.reading import parse_study
from tests.worlds import hospital_parts, runtime

PARTS = hospital_parts((60, 45, 75))
CONTENT: dict[str, Any] = {
    "title": "small",
    "data": {"source": "phantom"},  # not read: the exams are given
    "network": {"architecture": "linear"},
    "training": {"rounds": 1, "learning_rates": [0.1]},
    "methods": {"fedavg": {}, "local_only": {}, "pooled": {}},
    "evaluation": {"bootstrap": 0, "min_positives": 1},
}


def form() -> Form:
    """Input shape and labels of the exams, without any of them."""
    return Form(LabelSchema(("a", "b", "c"), {}), (5,))


def bench(folder: Path, method: str, parts: Parts, seed: int = 0, **tables: Any) -> Bench:
    study = parse_study({**CONTENT, **tables}, "small.toml")
    return Bench.of(study, Job(method, seed), form(), parts, folder, silent)


def result(folder: Path, method: str, parts: Parts, **tables: Any) -> dict[str, Any]:
    study = parse_study({**CONTENT, **tables}, "small.toml")
    return run_job(Bench.of(study, Job(method, 0), form(), parts, folder, silent))


@pytest.mark.parametrize("rates", [(1e-4, 0.3), (0.3, 1e-4)])
def test_the_learning_rate_with_the_best_validation_score_is_kept(
    tmp_path: Path, rates: tuple[float, float]
) -> None:
    training = {"rounds": 1, "learning_rates": rates}
    found = result(tmp_path / "both", "fedavg", PARTS, training=training)
    alone = {
        rate: result(
            tmp_path / f"{rate}", "fedavg", PARTS, training={**training, "learning_rates": [rate]}
        )
        for rate in rates
    }
    scores = {rate: own["validation_score"] for rate, own in alone.items()}
    assert list(found["learning_rates"].values()) == [scores[rate] for rate in rates]
    best = max(rates, key=lambda rate: scores[rate])
    assert scores[rates[0]] != scores[rates[1]]
    assert found["validation_score"] == scores[best]
    assert found["model"] == alone[best]["model"]


def test_a_learning_rate_without_a_score_is_never_preferred(tmp_path: Path) -> None:
    """At 3e38, next to float32's largest number, the loss is soon infinite: its score is NaN."""
    training: dict[str, Any] = {"rounds": 2, "learning_rates": [0.1, 3e38], "batch_size": 8}
    found = result(tmp_path / "both", "fedavg", PARTS, training=training)
    assert math.isnan(list(found["learning_rates"].values())[1])
    training["learning_rates"] = [0.1]
    assert found["model"] == result(tmp_path / "one", "fedavg", PARTS, training=training)["model"]


def test_a_hospital_alone_is_a_federation_of_one(tmp_path: Path) -> None:
    """Trained, calibrated and given thresholds on its own exams, and tested on those of all."""
    pair = {name: PARTS[name] for name in ("hospital-0", "hospital-2")}
    alone = result(tmp_path / "alone", "local_only", pair)
    thresholds, scores = [], []
    for own, (name, parts) in zip(alone["models"], pair.items(), strict=True):
        single = result(tmp_path / name, "fedavg", {name: parts})
        assert own["model"] == single["model"]
        assert own["validation_score"] == single["validation_score"]
        found, expected = alone["test"]["by_hospital"][name], single["test"]["by_hospital"][name]
        np.testing.assert_array_equal(found["positives"], expected["positives"])
        np.testing.assert_array_equal(found["metrics"]["auroc"], expected["metrics"]["auroc"])
        thresholds.append(single["test"]["operation"]["thresholds"])
        scores.append(single["validation_score"])
    np.testing.assert_allclose(
        alone["test"]["operation"]["thresholds"], np.mean(thresholds, axis=0)
    )
    assert alone["validation_score"] == pytest.approx(np.mean(scores))
    assert alone["test"]["images"] == sum(len(own["test"]) for own in pair.values())
    assert (alone["bytes_up"], alone["bytes_down"]) == (0, 0)


def test_pooled_training_uses_no_message_and_is_tested_by_hospital(tmp_path: Path) -> None:
    pooled = result(tmp_path, "pooled", PARTS)
    assert (pooled["bytes_up"], pooled["bytes_down"]) == (0, 0)
    sizes = [own["images"] for own in pooled["test"]["by_hospital"].values()]
    assert sizes == [len(own["test"]) for own in PARTS.values()]


def test_frequency_groups_are_those_of_training(tmp_path: Path) -> None:
    """The test parts hold nothing: by their frequencies every label would be in the tail."""
    empty = {
        name: {
            **own,
            "test": Exams(
                own["test"].images,
                np.zeros_like(own["test"].target),
                own["test"].known,
                own["test"].patient,
            ),
        }
        for name, own in PARTS.items()
    }
    statistics = asking(runtime(PARTS))(StatisticsRequest("train"))
    evaluation = {**CONTENT["evaluation"], "head": 0.45, "tail": 0.4}
    found = result(tmp_path, "fedavg", empty, evaluation=evaluation)
    expected = list(frequency_groups(statistics, 0.45, 0.4))
    assert found["test"]["groups"] == expected != ["tail"] * 3


def test_each_seed_draws_its_own_replicates(tmp_path: Path) -> None:
    """The same model on the same exams: only the patients that are drawn differ."""
    model = bench(tmp_path, "fedavg", PARTS).initial
    lows = []
    for seed in (1, 1, 2):
        own = bench(tmp_path, "fedavg", PARTS, seed)
        look = looking(own, PARTS, lambda sums: at_specificity(sums, 0.9))
        lows.append(look(model, 20, ScoreMeaning())["intervals"]["auroc"]["low"].tolist())
    assert lows[0] == lows[1] != lows[2]


def test_hospitals_of_single_models_keep_their_own_test() -> None:
    """Each model is measured on all hospitals; of those, only its own goes into by_hospital."""
    tests: dict[str, Any] = {
        model: {
            "images": 10,
            "macro": value,
            "by_hospital": {name: {"auroc": value + i / 100} for i, name in enumerate("xyz")},
        }
        for model, value in (("x", 0.5), ("y", 0.6), ("z", 0.7))
    }
    found = of_hospitals(tests)
    assert found["macro"] == pytest.approx(0.6)
    own = {name: test["auroc"] for name, test in found["by_hospital"].items()}
    assert own == pytest.approx({"x": 0.5, "y": 0.61, "z": 0.72})
