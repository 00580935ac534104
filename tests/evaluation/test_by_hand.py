"""Small cases whose value can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from concilium.evaluation.bootstrap import interval
from concilium.evaluation.histograms import CENTRES, EDGES, bin_of
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.calibration_error import CalibrationError, reliability


@pytest.mark.parametrize(
    ("confidence", "low", "high"), [(0.9, 50, 950), (0.95, 25, 975), (0.5, 250, 750)]
)
def test_the_ends_of_an_interval_leave_out_the_same_on_both_sides(
    confidence: float, low: float, high: float
) -> None:
    """Of the replicates 0, 1 … 1000 the quantile q is 1000 q."""
    found = interval(np.arange(1001.0)[:, None], confidence)
    assert (found.low[0], found.high[0]) == (pytest.approx(low), pytest.approx(high))


def test_a_score_at_the_threshold_is_an_alert() -> None:
    edge = EDGES[len(EDGES) // 3]
    scores = np.array([[edge], [np.nextafter(edge, -np.inf)], [edge], [edge + 1]])
    target = np.array([[1], [1], [0], [0]])
    sums = EvaluationSums.of(scores, target, np.ones((4, 1), bool), np.arange(4), [edge])
    assert sums.alerts.true_alerts.tolist() == [1]
    assert sums.alerts.false_alerts.tolist() == [2]
    assert sums.alerts.exams_with_miss == 1


def test_calibration_error_weighs_a_group_by_its_exams() -> None:
    """30 exams of one score, 6 of them positive, and 10 of another, 9 of them positive.

    Equal scores cannot be told apart, so of two groups one has 30 exams and the other 10:
    ECE = 30/40 |0.2 − p₁| + 10/40 |0.9 − p₂|.
    """
    low, high = CENTRES[bin_of(np.array([-1.0, 0.5]))]
    scores = np.array([low] * 30 + [high] * 10)[:, None]
    target = np.array([1] * 6 + [0] * 24 + [1] * 9 + [0])[:, None]
    sums = EvaluationSums.of(scores, target, np.ones((40, 1), bool), np.arange(40))
    assert reliability(sums, 2).num_entries.tolist() == [[30, 10]]
    expected = 0.75 * abs(0.2 - expit(low)) + 0.25 * abs(0.9 - expit(high))
    assert CalibrationError(num_groups=2)(sums)[0] == pytest.approx(expected, abs=1e-6)
    # The plain mean of the two gaps is another number.
    assert abs(expected - (abs(0.2 - expit(low)) + abs(0.9 - expit(high))) / 2) > 0.05
