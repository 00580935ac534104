"""Thresholds keep their promise on the sums they came from, and alert counts are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concilium.evaluation.histograms import EDGES
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import (
    alerts_per_100_exams,
    at_alert_budget,
    at_sensitivity,
    at_specificity,
    num_undefined,
)
from concilium.foundation.errors import InputError
from concilium.metrics.sensitivity import Sensitivity
from concilium.metrics.specificity import Specificity


def exams(seed: int, num_exams: int = 80) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    target = rng.random((num_exams, 3)) < [0.5, 0.2, 0.1]
    target[0] = True
    scores = rng.normal(-2, 2, (num_exams, 3)) + target
    return scores, target, rng.random((num_exams, 3)) < 0.9, np.arange(num_exams)


def next_edge(thresholds: np.ndarray, step: int) -> np.ndarray:
    """The edge so many bins higher, −inf and +inf at the ends."""
    index = np.searchsorted(EDGES, thresholds) + step
    return EDGES[np.clip(index, 0, len(EDGES) - 1)]


@given(seed=st.integers(0, 500), promised=st.floats(0.01, 0.99))
def test_specificity_is_kept_and_no_lower_threshold_would_keep_it(
    seed: int, promised: float
) -> None:
    data = exams(seed)
    thresholds = at_specificity(EvaluationSums.of(*data), promised)
    assert (Specificity()(EvaluationSums.of(*data, thresholds)) >= promised - 1e-9).all()
    lower = EvaluationSums.of(*data, next_edge(thresholds, -1))
    assert (Specificity()(lower) < promised).all()


@given(seed=st.integers(0, 500), promised=st.floats(0.01, 0.99))
def test_sensitivity_is_kept_and_no_higher_threshold_would_keep_it(
    seed: int, promised: float
) -> None:
    data = exams(seed)
    thresholds = at_sensitivity(EvaluationSums.of(*data), promised)
    assert (Sensitivity()(EvaluationSums.of(*data, thresholds)) >= promised - 1e-9).all()
    higher = EvaluationSums.of(*data, next_edge(thresholds, 1))
    assert (Sensitivity()(higher) < promised).all()


def test_nine_of_ten_negatives_are_ninety_percent() -> None:
    scores = np.arange(10.0)[:, None]
    sums = EvaluationSums.of(scores, np.zeros((10, 1)), np.ones((10, 1)), np.arange(10))
    threshold = at_specificity(sums, 0.9)
    assert ((scores >= threshold).sum(), threshold[0]) == (1, 8 + 1 / 32)  # just above the ninth


@pytest.mark.parametrize("shared", ["specificity", "score"])
@given(seed=st.integers(0, 500), budget=st.floats(0, 250))
def test_alert_budget_is_kept_exactly(shared: str, seed: int, budget: float) -> None:
    scores, target, _, patient = exams(seed)
    known = np.ones_like(target)
    sums = EvaluationSums.of(scores, target, known, patient)
    thresholds = at_alert_budget(sums, budget, shared)
    alerts = 100 * (scores >= thresholds).sum() / len(scores)
    assert alerts <= budget + 1e-9
    assert alerts_per_100_exams(sums, thresholds) == pytest.approx(alerts)


def test_a_larger_budget_gives_no_fewer_alerts_and_a_whole_one_gives_all() -> None:
    sums = EvaluationSums.of(*exams(1))
    for shared in ("specificity", "score"):
        used = [
            alerts_per_100_exams(sums, at_alert_budget(sums, budget, shared))
            for budget in (0, 1, 3, 10, 30, 100, 300)
        ]
        assert used == sorted(used)
        assert (used[0], used[-1]) == (0, pytest.approx(300))  # three labels, all alerted


def test_a_shared_specificity_is_the_same_for_all_labels() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((5000, 3)) < [0.3, 0.1, 0.02]
    scores = rng.normal([-1, -3, -5], 1.5, (5000, 3)) + 2 * target
    data = scores, target, np.ones_like(target), np.arange(5000)
    thresholds = at_alert_budget(EvaluationSums.of(*data), 40.0)
    sums = EvaluationSums.of(*data, thresholds)
    assert np.ptp(Specificity()(sums)) < 0.02  # as equal as steps of one bin allow
    assert 38 < alerts_per_100_exams(sums, thresholds) <= 40


def test_undefined_thresholds_are_nan_and_counted() -> None:
    target = np.array([[1, 0, 0], [1, 0, 1]])
    known = np.array([[1, 1, 0], [1, 1, 0]])
    sums = EvaluationSums.of(np.zeros((2, 3)), target, known, [0, 1])
    assert np.isnan(at_specificity(sums, 0.9)).tolist() == [True, False, True]
    assert np.isnan(at_sensitivity(sums, 0.9)).tolist() == [False, True, True]
    assert np.isnan(at_alert_budget(sums, 10, "score")).tolist() == [False, False, True]
    assert num_undefined(at_specificity(sums, 0.9)) == 2
    assert num_undefined(at_alert_budget(EvaluationSums.zero(3), 5)) == 3


def test_what_is_out_of_range_is_refused() -> None:
    sums = EvaluationSums.zero(1)
    for wrong in (lambda: at_specificity(sums, 90), lambda: at_alert_budget(sums, -1.0)):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(InputError, match="did you mean 'score'"):
        at_alert_budget(sums, 1.0, "scores")
