"""What labels cost: read from learning curves between their points, never beyond them."""

from __future__ import annotations

import math

import pytest
from evidence import Evidence
from labels_needed import kept_of_all, needed, share_needed, tables
from sweeps import sweeps_of

from tests.benchmarks.made_rows import NAN, row, series


def test_the_share_needed_lies_between_two_points_on_a_logarithmic_scale() -> None:
    curve = {0.1: 0.6, 1.0: 0.8}
    # Half of the way up is half of the decade.
    assert share_needed(curve, 0.7) == pytest.approx(math.sqrt(0.1))
    assert share_needed(curve, 0.8) == pytest.approx(1.0)


def test_what_is_reached_at_once_or_never_is_not_extrapolated() -> None:
    curve = {0.1: 0.6, 1.0: 0.8}
    assert share_needed(curve, 0.5) == 0.1
    assert math.isnan(share_needed(curve, 0.9))
    assert math.isnan(share_needed(curve, NAN))
    assert math.isnan(share_needed({0.1: NAN, 1.0: NAN}, 0.5))
    assert share_needed({0.05: 0.6, 0.1: NAN, 0.2: 0.8}, 0.7) == pytest.approx(0.1)


def learning() -> Evidence:
    rows = []
    for share, ours, classic in ((0.1, 0.6, 0.5), (1.0, 0.8, 0.7)):
        given = {"world": f"w{share}", "severity": ("labelled share", share), "tuned_in": "w1.0"}
        rows += series("ours", "auroc", [ours] * 3, **given)  # type: ignore[arg-type]
        # In the last seed the classic method does better than ours ever does.
        last = 0.9 if share == 1.0 else classic
        rows += series("softmax", "auroc", [classic, classic, last], **given)  # type: ignore[arg-type]
    return Evidence.of(rows)


def test_exams_needed_count_the_seeds_in_which_the_goal_is_reached() -> None:
    evidence = learning()
    (sweep,) = sweeps_of(evidence)
    made = needed(evidence, sweep)
    by_model = {str(line[0]): line[1] for line in made.rows}
    assert by_model["ours"] == "0.32 ± 0.00 (2 of 3)"
    assert by_model["softmax"] == "1.00 ± 0.00"
    assert "softmax" in made.columns[1]


def test_what_is_kept_is_a_part_of_the_same_model_with_everything() -> None:
    evidence = learning()
    (sweep,) = sweeps_of(evidence)
    by_model = {str(line[0]): line[1] for line in kept_of_all(evidence, sweep).rows}
    assert by_model["ours"] == "75.0 [75.0, 75.0]"


def test_a_sweep_of_something_else_says_nothing_of_labels() -> None:
    rows = [
        row("a", 0, {"auroc": 0.5}, world=f"w{value}", severity=("alpha", value), tuned_in="w1.0")
        for value in (0.1, 1.0)
    ]
    evidence = Evidence.of(rows)
    (sweep,) = sweeps_of(evidence)
    assert tables(evidence, sweep) == ()
