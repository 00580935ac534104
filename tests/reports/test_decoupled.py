"""What the report says of the decoupled test and of calibration before and after, if told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from concilium.foundation.files import write_json
from concilium.reports.evidence import read_evidence
from concilium.reports.page import page
from concilium.reports.sections.decoupled import decoupled
from concilium.studies.comparison import FINAL, summarise


@pytest.fixture(scope="module")
def older(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, as it was made before either was measured."""
    folder = tmp_path_factory.mktemp("older") / "run"
    shutil.copytree(run, folder)
    results: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    for result in results:
        for stage in ("test", "before_consolidation"):
            for name in ("decoupled", "uncalibrated"):
                if result[stage] is not None:
                    del result[stage][name]
    write_json(folder / "results.json", results)
    return folder


def test_the_table_has_both_tests_side_by_side_and_says_what_the_weights_are_worth(
    run: Path,
) -> None:
    evidence = read_evidence(run)
    text = decoupled(evidence)
    rows = {r.method: r for r in summarise(evidence.results) if r.stage == FINAL}
    for row in rows.values():
        for key in ("auroc", "decoupled_auroc", "map", "decoupled_map"):
            assert row.measured[key].num_defined == 2
            assert row.measured[key].text(".3f") in text
    worst = min((r["test"]["decoupled"] for r in evidence.results), key=lambda own: own["covered"])
    assert f"{worst['effective_exams']:,.0f} effective exams of 240" in text
    assert text in page(evidence) and "ECE before" in page(evidence)


def test_an_older_run_has_no_such_table(older: Path) -> None:
    evidence = read_evidence(older)
    assert decoupled(evidence) == ""
    assert "ECE before" not in page(evidence) and "decoupled" not in page(evidence)


def test_the_report_says_what_was_held_out_and_how_much_has_labels(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    assert "Held out" not in page(read_evidence(folder))
    place = folder / "splits" / "seed-1-fold-0" / "shifts.json"
    shifts = json.loads(place.read_text())
    held = {"labels": ["Mass", "Edema"], "exams": 31, "patients": 29, "images": 1058}
    thinned = {"train": {"images": 40, "of": 420}, "test": {"images": 120, "of": 120}}
    write_json(place, {**shifts, "held_out": [held], "labelled": thinned})
    text = page(read_evidence(folder))
    assert "seed-1-fold-0. Held out: Mass + Edema: on 31 exams of 29 patients, whose 1,058" in text
    assert "seed-1-fold-0. Labelled: 40 of 420 images of train." in text
