"""No number of the report says more than its cases allow, and each says over what it goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.foundation import components
from concilium.reports.evidence import Evidence, read_evidence
from concilium.reports.markup import Html
from concilium.reports.matrix_charts import matrix_chart
from concilium.reports.page import PARTS
from concilium.reports.sections import (
    consolidation,
    correlations,
    findings,
    operation,
    regressions,
    summary,
)
from concilium.reports.sections.all_metrics import all_metrics
from concilium.reports.sections.headline import sentences
from concilium.reports.sections.hospitals import by_hospital
from tests.reports.test_page import read

HERNIA = 3


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is tested elsewhere, and drawing takes the time of all the rest."""
    for module, chart in (
        (summary, "method_chart"),
        (findings, "label_chart"),
        (correlations, "matrix_chart"),
        (consolidation, "curve_chart"),
    ):
        monkeypatch.setattr(module, chart, lambda *_: Html())


@pytest.fixture(scope="session")
def whole(run: Path) -> Evidence:
    """The run as it is."""
    return read_evidence(run)


def edited(evidence: Evidence, edit: Callable[[dict[str, Any]], Any]) -> Evidence:
    """The same run with every result changed."""
    results = deepcopy(evidence.results)
    for result in results:
        edit(result)
    return replace(evidence, results=results)


def few_hernias(result: dict[str, Any]) -> None:
    result["test"]["positives"][HERNIA] = 5


def few_pairs(result: dict[str, Any]) -> None:
    result["test"]["label_sets"][0] |= {"present": 2, "found": 1, "recall": 0.5}


def test_the_first_lines_say_over_which_labels_a_mean_goes(whole: Evidence) -> None:
    evidence = edited(whole, few_hernias)
    first, rare, _ = sentences(evidence)
    assert "(mAP; over 4 of 5 labels; left out: Hernia (5 positives))" in first
    assert "% of pooled training" in first  # four labels have enough
    assert "(Hernia, 5 positives)" in rare
    assert "Fewer than 10 cases" in rare and "%" not in rare
    assert "<strong>" in first and "<strong>" not in rare


@pytest.mark.parametrize(
    "title", ["What got worse", "Data", "Correlations", "Thresholds", "Consolidation"]
)
def test_captions_say_which_labels_are_left_out(whole: Evidence, title: str) -> None:
    text = str(dict(PARTS)[title](edited(whole, few_hernias)))
    assert "over 4 of 5 labels; left out: Hernia (5 positives)" in text


def test_a_recall_of_two_exams_says_so_and_is_not_praised(whole: Evidence) -> None:
    evidence = edited(whole, few_pairs)
    recall = sentences(evidence)[2]
    assert "(Mass + Hernia, of 2 exams)" in recall
    assert "<strong>" not in recall and "%" not in recall
    text = str(summary.summary(evidence))
    assert "Not bold because of fewer than 10 cases: rare-set recall, erasure." in text
    row = text.split("Findings together", maxsplit=1)[0].rsplit("<table>", 1)[1]
    assert "<strong>0.500" not in row


def test_an_interval_of_two_pairs_is_not_printed(whole: Evidence) -> None:
    cells = read(str(dict(PARTS)["Results"](whole))).cells
    place = cells.index("95 % t interval")
    assert set(cells[place + 5 :: 5]) == {"2 pairs: too few"}


def test_what_is_equal_as_printed_did_not_get_worse(whole: Evidence) -> None:
    def nearly(result: dict[str, Any]) -> None:
        lower = 0.0001 if result["method"] == "concilium" else 0.0
        for name in ("auroc", "average_precision"):
            result["test"]["macro"][name]["mean"] = 0.7002 - lower
            result["test"]["metrics"][name] = [0.7002 - lower] * 5
            result["test"]["intervals"][name]["macro"] = [0.6, 0.8]

    text = str(regressions.regressions(edited(whole, nearly)))
    assert "macro AUROC (" not in text
    assert "mAP (" not in text
    assert "on 0 of 5 labels." in text


@pytest.mark.parametrize(("value", "kind"), [(0.65, "Within noise"), (0.75, "Beyond noise")])
def test_what_may_be_chance_is_marked_in_the_sentence(
    whole: Evidence, value: float, kind: str
) -> None:
    def edit(result: dict[str, Any]) -> None:
        test, main = result["test"], result["method"] == "concilium"
        test["macro"]["auroc"]["mean"] = test["metrics"]["auroc"][0] = 0.6 if main else value
        test["intervals"]["auroc"] |= {"macro": [0.5, 0.7], "low": [0.5] * 5, "high": [0.7] * 5}

    text = str(regressions.regressions(edited(whole, edit)))
    against = text.split("Against pooled")[1]
    assert re.search(rf"{kind}: [^.]*macro AUROC \(0.600 against {value}0\)", against)
    assert re.search(
        rf"AUROC is lower than .* {kind}: [^:]*Effusion \(−0.{round(1000 * value) - 600:03}\)",
        against,
    )


def test_a_false_coupling_below_the_ideal_is_printed_as_it_is(whole: Evidence) -> None:
    def edit(result: dict[str, Any]) -> None:
        values = {"concilium": 0.2, "pooled": 0.05}
        mean = values.get(result["method"], 0.3)
        result["test"]["macro"]["false_coupling"]["mean"] = mean

    text = str(regressions.regressions(edited(whole, edit)))
    assert "false coupling (0.200 against 0.050; ideal 0.10)" in text


def test_a_hospital_without_a_value_in_one_run_has_no_mean(whole: Evidence) -> None:
    def edit(result: dict[str, Any]) -> None:
        if result["seed"] == 1:
            nothing = {"mean": None, "num_labels": 0, "num_left_out": 5}
            result["test"]["by_hospital"]["b"]["macro"]["auroc"] = nothing

    evidence = edited(whole, edit)
    cells = read(str(by_hospital(evidence))).cells
    start = cells.index("macro AUROC")
    assert cells[start + 4] == "labels counted"
    assert cells[start + 6].startswith("0 to ")
    row = cells.index("concilium", start)
    assert [cell == "–" for cell in cells[row + 1 : row + 4]] == [False, True, False]
    assert ": 2 of 3 hospitals, " in str(by_hospital(evidence))


def test_target_and_reached_specificity_stand_beside_each_other(whole: Evidence) -> None:
    def edit(result: dict[str, Any]) -> None:
        result["test"]["metrics"]["specificity"][0] = 0.77
        result["test"]["macro"]["specificity"]["mean"] = 0.8

    evidence = edited(whole, edit)
    cells = read(str(operation.operation(evidence))).cells
    assert cells[cells.index("Effusion") + 4] == "0.77"
    assert cells[4] == "specificity reached (target 0.9)"
    text = str(correlations.correlations(evidence))
    cells = read(text).cells
    assert cells[cells.index("concilium", cells.index("phi gap")) + 3] == "0.200"
    assert "compare a method&#x27;s false coupling with its own 1 − specificity reached" in text


def test_a_calibration_that_was_not_fitted_says_so(whole: Evidence) -> None:
    def edit(result: dict[str, Any]) -> None:
        own = result["test"]["operation"]
        own["slope"][HERNIA], own["offset"][HERNIA] = 1.0, 0.0
        fitted = result["seed"] == 0
        own["slope"][0], own["offset"][0] = (1.5, 0.25) if fitted else (1.0, 0.0)

    cells = read(str(operation.operation(edited(whole, edit)))).cells
    row = cells.index("Hernia")
    assert cells[row + 9 : row + 11] == ["not fitted", "not fitted"]
    row = cells.index("Effusion")  # the mean over the runs that fitted it, not with 1 and 0
    assert cells[row + 9 : row + 11] == ["1.50 (1 of 2)", "0.25 (1 of 2)"]


def test_an_npv_stands_beside_that_of_never_raising_an_alert(whole: Evidence) -> None:
    def edit(result: dict[str, Any]) -> None:
        result["test"]["positives"][0], result["test"]["known"][0] = 60, 240

    cells = read(str(operation.operation(edited(whole, edit)))).cells
    row = cells.index("Effusion")
    assert (cells[7], cells[8], cells[row + 8]) == ("NPV", "1 − prevalence", "0.750")


def test_only_one_column_of_misses_counts_per_thousand(whole: Evidence) -> None:
    cells = read(str(operation.operation(whole))).cells
    assert [cell for cell in cells if "1,000" in cell] == [
        "findings missed per 1,000 exams, at 100 alerts per 100 exams"
    ]


def test_correlations_of_labels_with_few_positives_are_left_out(whole: Evidence) -> None:
    evidence = edited(whole, few_hernias)
    matrices = correlations._matrices(evidence)
    assert list(matrices) == ["true", "local_only", "fedavg", "concilium", "pooled"]
    for matrix in matrices.values():
        assert np.isnan(matrix[HERNIA]).all() and np.isnan(matrix[:, HERNIA]).all()
        assert not np.isnan(np.delete(np.delete(matrix, HERNIA, 0), HERNIA, 1)).any()
    text = str(correlations._pairs(evidence, matrices))
    assert "Effusion + Edema" in text or "Edema + Effusion" in text
    assert "Hernia" not in text


def test_few_labels_have_numbers_in_their_cells_and_counts_behind_their_names() -> None:
    matrix = np.array([[1, 0.31, np.nan], [0.31, 1, -0.42], [np.nan, -0.42, 1]])
    two = [("true", matrix), ("fedavg", 0 * matrix)]
    picture = matrix_chart("m", two, ["a", "b", "c"], [12, 1007, 9], "phi", "phi")
    assert ">0.31<" in picture and ">−0.42<" in picture
    assert picture.count(">b (1,007)<") == 3  # once beside both, once below each


def test_counts_that_are_means_over_runs_say_so(whole: Evidence) -> None:
    for title in ("Data", "Findings", "Thresholds"):
        assert "positives (mean over runs)" in read(str(dict(PARTS)[title](whole))).cells
    alone = replace(whole, results=tuple(r for r in whole.results if r["seed"] == 0))
    assert "(mean over runs)" not in str(dict(PARTS)["Data"](alone))


def test_every_metric_of_the_folder_stands_in_the_report(whole: Evidence) -> None:
    def edit(result: dict[str, Any]) -> None:
        del result["test"]["macro"]["brier"]  # a run from before there was one

    evidence = edited(whole, edit)
    shown = {cell.split("\u00a0")[0] for cell in read(str(all_metrics(evidence))).cells}
    names = {name.replace("_", " ") for name in components.names("metrics")}
    assert names - shown == {"brier"}
