"""``concilium compare``: what it shows, what it leaves out, and that it says over what means go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from concilium.foundation import components
from concilium.foundation.files import plain, write_json

from .conftest import STUDY, Command, write_study

LABELS = ("Effusion", "Mass", "Hernia")


def described(value: float) -> dict[str, Any]:
    """What ``results.describe`` gives of one test, as far as a comparison reads it."""
    mean = {"mean": value, "num_labels": 2, "num_left_out": 1}
    hospital = {"macro": {"auroc": mean}}
    undefined = {"macro": {"auroc": {"mean": None, "num_labels": 0, "num_left_out": 3}}}
    metrics = {name: [value, value, None] for name in components.names("metrics")}
    return {
        "labels": list(LABELS),
        "positives": [40, 20, 5],
        "metrics": metrics,
        "macro": dict.fromkeys(metrics, mean),
        "by_group": {"head": {"average_precision": mean}},
        "label_sets": [],
        "phi": {"gap": value},
        "by_hospital": {"hospital-1": hospital, "hospital-2": undefined},
    }


def result(method: str, seed: int, value: float) -> dict[str, Any]:
    return {
        "method": method,
        "seed": seed,
        "fold": 0,
        "trains": "federation",
        "bytes_up": 0,
        "bytes_down": 0,
        "seconds": 1.0,
        "test": described(value),
        "before_consolidation": None,
    }


@pytest.fixture
def run(concilium: Command, tmp_path: Path) -> Path:
    """A run folder of three seeds with results that were written, not trained."""
    text = STUDY.replace("seeds = [0, 1]", "seeds = [0, 1, 2]")
    study = write_study(tmp_path, text.replace("min_positives = 1", "min_positives = 10"))
    from concilium.studies.assembly import with_absolute_paths
    from concilium.studies.reading import read_study

    folder = tmp_path / "runs" / "tiny"
    own = with_absolute_paths(read_study(study), tmp_path)
    values = {"local_only": 0.5, "fedavg": 0.6, "concilium": 0.75}
    for seed in (0, 1, 2):
        for method, value in values.items():
            place = folder / "methods" / method / f"seed-{seed}-fold-0"
            place.mkdir(parents=True)
            gained = seed * 0.01 if method == "concilium" else 0.0
            write_json(place / "result.json", plain(result(method, seed, value + gained)))
    (folder / "study.toml").write_text(text)
    (folder / "study.json").write_text(own.model_dump_json())
    write_json(folder / "data.json", {"synthetic": False})
    return folder


def test_it_says_over_which_labels_and_hospitals_means_go(concilium: Command, run: Path) -> None:
    said = concilium("compare", run)
    assert said.code == 0, said.err
    assert "at least 10 positives: over 2 of 3 labels; left out: Hernia (5 positives)" in said.out
    assert "in every run: 1 of 2 hospitals, 2 labels each" in said.out


def test_differences_have_the_columns_of_the_table_and_none_without_a_value(
    concilium: Command, run: Path
) -> None:
    said = concilium("compare", run, "--to", "fedavg")
    table, differences = said.out.split("Difference to fedavg")
    for title in ("macro AUROC", "mAP", "head AP", "false coupling", "missed / 1,000"):
        assert title in table and title in differences
    for title in ("tail AP", "rare-label AP", "rare-set recall"):  # undefined in every run
        assert title not in said.out
    # concilium − fedavg is 0.15, 0.16, 0.17: mean 0.16, ± 4.3027 × 0.01 / √3 = 0.0248.
    assert "+0.160 [+0.135 to +0.185]" in differences


def test_two_pairs_have_no_interval(concilium: Command, run: Path) -> None:
    (run / "methods" / "fedavg" / "seed-2-fold-0" / "result.json").unlink()
    assert "+0.155 [2 pairs: too few]" in concilium("compare", run, "--to", "fedavg").out


def test_every_metric_of_the_folder_can_be_compared(concilium: Command, run: Path) -> None:
    shown = concilium("compare", run, "--all").out
    for name in components.names("metrics"):
        assert name.replace("_", " ") in shown
    some = concilium("compare", run, "--metrics", "brier, sensitivity", "--to", "fedavg").out
    assert "↓ brier" in some and "↑ sensitivity" in some and "log loss" not in some
    assert "↓ brier" in some.split("The same of metrics")[1]


def test_a_metric_that_older_results_lack_is_named(concilium: Command, run: Path) -> None:
    for path in run.rglob("result.json"):
        own = json.loads(path.read_text())
        del own["test"]["macro"]["brier"]
        write_json(path, own)
    assert "no value in these runs: brier" in concilium("compare", run, "--metrics", "brier").out


def test_an_unknown_metric_is_refused_with_a_suggestion(concilium: Command, run: Path) -> None:
    said = concilium("compare", run, "--metrics", "briar")
    assert said.code == 2
    assert "did you mean 'brier'?" in said.err
