"""Laws of the comparison: order does not matter, means are numpy's, undefined stays undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from concilium.foundation import components
from concilium.foundation.errors import InputError, StudyError
from concilium.studies.columns import COLUMNS, columns
from concilium.studies.comparison import BEFORE, FINAL, Measured, as_text, difference, summarise

LABELS = ["Mass", "Hernia", "Edema"]


def macro(mean: float | None) -> dict[str, Any]:
    return {"mean": mean, "num_labels": 3, "num_left_out": 0}


def described(auroc: float | None, recall: float | None = 0.5) -> dict[str, Any]:
    """What ``results.describe`` gives, as far as the columns read it."""
    return {
        "labels": LABELS,
        "metrics": {"average_precision": [0.6, 0.2, None], "missed_findings": [30.0, 4.0, None]},
        "macro": {"auroc": macro(auroc), "average_precision": macro(0.4)},
        "by_group": {"tail": {"average_precision": macro(None)}},
        "label_sets": [{"labels": ["Mass", "Hernia"], "present": 8, "found": 4, "recall": recall}],
        "phi": {"gap": 0.3},
        "by_hospital": {
            "a": {"macro": {"auroc": macro(0.9)}},
            "b": {"macro": {"auroc": macro(auroc)}},
            "c": {"macro": {"auroc": macro(None)}},
        },
    }


def result(method: str, seed: int, auroc: float | None, **more: Any) -> dict[str, Any]:
    return {
        "method": method,
        "seed": seed,
        "fold": 0,
        "trains": "pooled" if method == "pooled" else "federation",
        "bytes_up": 2_000_000,
        "bytes_down": 1_000_000,
        "seconds": 10.0 + seed,
        "test": described(auroc, more.get("recall", 0.5)),
        "before_consolidation": more.get("before"),
    }


RESULTS = [
    result("fedavg", 0, 0.70, recall=0.2),
    result("fedavg", 1, 0.75, recall=0.1),
    result("concilium", 0, 0.80, recall=0.4, before=described(0.71)),
    result("concilium", 1, 0.83, recall=0.6, before=described(0.74)),
    result("pooled", 0, 0.81, recall=0.5),
    result("pooled", 1, 0.85, recall=0.5),
]

THREE = [*RESULTS, result("fedavg", 2, 0.60), result("concilium", 2, 0.72)]


@pytest.mark.parametrize(
    "shuffled", [RESULTS[::-1], RESULTS[3:] + RESULTS[:3], RESULTS[::2] + RESULTS[1::2]]
)
def test_the_order_of_results_does_not_matter(shuffled: list[dict[str, Any]]) -> None:
    # NaN differs from itself, so rows are compared as they are written, with all digits.
    assert repr(summarise(shuffled, ["Hernia"])) == repr(summarise(RESULTS, ["Hernia"]))


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.0, 1.0, 0.25], [0.1, 0.7, 0.2, 0.9]])
def test_mean_and_spread_are_those_of_numpy(values: list[float]) -> None:
    rows = summarise([result("m", seed, value) for seed, value in enumerate(values)])
    measured = rows[0].measured["auroc"]
    assert measured.mean == pytest.approx(np.mean(values))
    assert measured.spread == pytest.approx(np.std(values, ddof=1))


def test_undefined_values_are_left_out_and_counted() -> None:
    rows = summarise([result("m", 0, 0.6), result("m", 1, None), result("m", 2, 0.8)])
    measured = rows[0].measured["auroc"]
    assert measured.mean == pytest.approx(0.7)
    assert (measured.num_defined, measured.num_undefined) == (2, 1)
    assert measured.text(".2f") == "0.70 ± 0.14 (2 of 3)"  # 0.1 × √2


def test_nothing_defined_is_nan_and_a_dash_never_zero() -> None:
    measured = Measured.of([float("nan")])
    assert math.isnan(measured.mean)
    assert measured.text(".3f") == "–"
    assert math.isnan(summarise(RESULTS)[0].measured["tail_ap"].mean)


def test_one_run_has_no_spread() -> None:
    measured = Measured.of([0.5])
    assert math.isnan(measured.spread)
    assert measured.text(".2f") == "0.50"


def test_rows_stand_in_the_order_that_is_asked_for_with_what_was_before_consolidation() -> None:
    rows = summarise(RESULTS, order=("pooled", "concilium"))
    assert [(row.method, row.stage) for row in rows] == [
        ("pooled", FINAL),
        ("concilium", FINAL),
        ("concilium", BEFORE),
        ("fedavg", FINAL),
    ]
    assert rows[2].measured["auroc"].mean == pytest.approx((0.71 + 0.74) / 2)


def test_rare_labels_sets_hospitals_and_bytes() -> None:
    measured = summarise(RESULTS[:1], ["Hernia", "Edema"])[0].measured
    assert measured["rare_ap"].mean == 0.2  # Edema has no AP here
    assert measured["set_recall"].mean == 0.2
    assert measured["worst_hospital"].mean == 0.70  # hospital c is undefined, not the worst
    assert measured["missed"].mean == 34.0
    assert measured["megabytes"].mean == 3.0


def test_a_hospital_that_one_run_does_not_define_is_the_worst_in_none() -> None:
    # Seed 0: hospital b has 0.60; seed 1: b has too few positives, and a's 0.90 would be "worst".
    rows = summarise([result("m", 0, 0.60), result("m", 1, None)])
    assert rows[0].measured["worst_hospital"].mean == pytest.approx(0.90)  # of a, in both
    nowhere = [result("m", 0, 0.60), result("m", 1, 0.60)]
    nowhere[1]["test"]["by_hospital"]["a"] = {"macro": {"auroc": macro(None)}}
    nowhere[0]["test"]["by_hospital"]["b"] = {"macro": {"auroc": macro(None)}}
    measured = summarise(nowhere)[0].measured["worst_hospital"]
    assert (measured.num_defined, measured.num_undefined) == (0, 2)


def test_every_metric_of_the_folder_is_a_column() -> None:
    row = summarise(RESULTS)[0]
    for name in components.names("metrics"):
        column = columns()[f"macro.{name}"]
        better = components.find("metrics", name).higher_is_better  # type: ignore[attr-defined]
        assert column.better == ("higher" if better else "lower")
        assert column.key in row.measured
    assert row.measured["macro.auroc"] == row.measured["auroc"]
    assert row.measured["macro.brier"].num_defined == 0  # not in these results: undefined


def test_nothing_federated_has_no_bytes() -> None:
    assert math.isnan(summarise([result("pooled", 0, 0.8)])[0].measured["megabytes"].mean)


def test_erasure_is_the_lost_share_of_the_pooled_recall_of_the_same_seed() -> None:
    rows = {row.title: row for row in summarise(RESULTS)}
    erasures = [1 - 0.2 / 0.5, 1 - 0.1 / 0.5]
    assert rows["fedavg"].measured["erasure"].mean == pytest.approx(np.mean(erasures))
    assert rows["pooled"].measured["erasure"].mean == 0
    alone = summarise(RESULTS[:2])[0].measured["erasure"]
    assert (alone.num_defined, alone.num_undefined) == (0, 2)  # no pooled model to compare with


@pytest.mark.parametrize("key", ["auroc", "set_recall", "seconds"])
def test_a_method_differs_from_itself_by_nothing(key: str) -> None:
    found = difference(THREE, "concilium", "concilium", key)
    assert (found.mean, found.low, found.high, found.num_pairs) == (0, 0, 0, 3)
    assert found.within_noise


def test_a_difference_is_paired_by_seed_with_a_t_interval() -> None:
    found = difference(THREE, "concilium", "fedavg", "auroc")
    # Gaps 0.10, 0.08 and 0.12: mean 0.10, standard error 0.02 / √3, t(0.975, 2) = 4.3027.
    assert found.mean == pytest.approx(0.10)
    assert (found.low, found.high) == pytest.approx((0.10 - 0.04968, 0.10 + 0.04968), abs=1e-5)
    assert not found.within_noise
    assert found.interval_text("+.3f") == "+0.050 to +0.150"
    reverse = difference(THREE, "fedavg", "concilium", "auroc")
    assert (reverse.low, reverse.high) == pytest.approx((-found.high, -found.low))


def test_an_interval_is_not_clipped() -> None:
    values = [(0.0, 1.0), (0.1, 0.9), (0.9, 0.2)]
    results = [result("a", seed, a) for seed, (a, _) in enumerate(values)]
    results += [result("b", seed, b) for seed, (_, b) in enumerate(values)]
    found = difference(results, "a", "b", "auroc")
    assert found.low < -1 and found.high > 1  # no AUROC can differ so much: that is what it says
    assert found.within_noise


def test_a_difference_leaves_out_undefined_pairs_and_says_how_many() -> None:
    results = [*RESULTS, result("fedavg", 2, None), result("concilium", 2, 0.9)]
    found = difference(results, "concilium", "fedavg", "auroc")
    assert (found.num_pairs, found.num_undefined) == (2, 1)


@pytest.mark.parametrize(
    ("results", "said"), [(RESULTS[:3], "1 pair: too few"), (RESULTS, "2 pairs: too few")]
)
def test_fewer_than_three_pairs_have_no_interval(results: list[dict[str, Any]], said: str) -> None:
    found = difference(results, "concilium", "fedavg", "auroc")
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.within_noise  # nobody knows
    assert found.interval_text("+.3f") == said


def test_what_does_not_exist_is_named_with_a_suggestion() -> None:
    with pytest.raises(StudyError, match="did you mean 'concilium'"):
        difference(RESULTS, "consilium", "fedavg", "auroc")
    with pytest.raises(InputError, match="did you mean 'auroc'"):
        difference(RESULTS, "concilium", "fedavg", "aurok")


def test_two_results_of_one_method_seed_and_fold_are_refused() -> None:
    with pytest.raises(StudyError, match="fedavg, seed 0, fold 0"):
        summarise([*RESULTS, RESULTS[0]])


def test_the_table_leaves_out_columns_that_no_row_defines() -> None:
    titles, cells = as_text(summarise(RESULTS), ("auroc", "tail_ap", "rare_ap"))
    assert titles == ["method", "macro AUROC"]
    assert cells[0] == ["concilium", "0.815 ± 0.021"]


def test_every_column_says_what_it_means() -> None:
    assert all(
        column.meaning and column.better in ("higher", "lower") for column in COLUMNS.values()
    )
