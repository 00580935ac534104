"""Rates at thresholds and errors of probabilities, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
)

from concilium.evaluation.histograms import CENTRES, bin_of
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.brier import Brier
from concilium.metrics.calibration_error import CalibrationError, reliability
from concilium.metrics.f1 import F1
from concilium.metrics.log_loss import LogLoss
from concilium.metrics.negative_predictive_value import NegativePredictiveValue
from concilium.metrics.positive_predictive_value import PositivePredictiveValue
from concilium.metrics.sensitivity import Sensitivity
from concilium.metrics.specificity import Specificity

THRESHOLDS = np.array([0.2, -0.7])


def exams(num_exams: int = 200) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    target = rng.random((num_exams, 2)) < [0.4, 0.1]
    scores = rng.normal(-1, 1.5, (num_exams, 2)) + target
    return scores, target, rng.random((num_exams, 2)) < 0.8, np.arange(num_exams)


def test_rates_equal_scikit_learn() -> None:
    scores, target, known, patient = exams()
    sums = EvaluationSums.of(scores, target, known, patient, THRESHOLDS)
    for label in range(2):
        y, z = target[known[:, label], label], scores[known[:, label], label]
        alert = z >= THRESHOLDS[label]
        tn, fp, fn, tp = confusion_matrix(y, alert).ravel()
        assert F1()(sums)[label] == pytest.approx(f1_score(y, alert))
        assert Sensitivity()(sums)[label] == pytest.approx(recall_score(y, alert))
        assert Specificity()(sums)[label] == pytest.approx(tn / (tn + fp))
        assert PositivePredictiveValue()(sums)[label] == pytest.approx(precision_score(y, alert))
        assert NegativePredictiveValue()(sums)[label] == pytest.approx(tn / (tn + fn))
        assert tp == sums.alerts.true_alerts[label] and fp == sums.alerts.false_alerts[label]


def test_losses_equal_scikit_learn() -> None:
    scores, target, known, patient = exams()
    sums = EvaluationSums.of(scores, target, known, patient)
    for label in range(2):
        y, p = target[known[:, label], label], expit(scores[known[:, label], label])
        assert Brier()(sums)[label] == pytest.approx(brier_score_loss(y, p), abs=1e-9)
        assert LogLoss()(sums)[label] == pytest.approx(log_loss(y, p), abs=1e-9)


def test_soft_targets_count_as_they_are_in_the_losses() -> None:
    """The probability of 0.7 is right for a target of 0.7: (p − y)² = 0, entropy H(0.7)."""
    score = np.log(0.7 / 0.3)
    sums = EvaluationSums.of([[score]], [[0.7]], [[True]], [0])
    assert Brier()(sums)[0] == pytest.approx(0, abs=1e-9)
    entropy = -0.7 * np.log(0.7) - 0.3 * np.log(0.3)
    assert LogLoss()(sums)[0] == pytest.approx(entropy, abs=1e-7)


def test_log_loss_of_a_confident_mistake_is_finite() -> None:
    sums = EvaluationSums.of([[500.0]], [[0]], [[True]], [0])
    assert LogLoss()(sums)[0] == 500


def test_undefined_rates_are_nan() -> None:
    """Negatives without an alert; positives, all alerted; negatives, all alerted."""
    sums = EvaluationSums.of(
        np.zeros((4, 3)), [[0, 1, 0]] * 4, np.ones((4, 3)), range(4), [np.inf, -np.inf, -np.inf]
    )
    expected = {
        F1: [np.nan, 1, np.nan],
        Sensitivity: [np.nan, 1, np.nan],
        Specificity: [1, np.nan, 0],
        PositivePredictiveValue: [np.nan, 1, 0],
        NegativePredictiveValue: [1, np.nan, np.nan],
    }
    for metric, values in expected.items():
        np.testing.assert_array_equal(metric()(sums), values)


def test_calibration_error_equals_brute_force_over_equal_groups() -> None:
    """40 distinct scores, 5 exams each, 8 groups: each holds exactly 25 exams."""
    rng = np.random.default_rng(0)
    scores = np.repeat(CENTRES[400:600:5], 5)[:, None]
    target = rng.random((200, 1)) < 0.5
    sums = EvaluationSums.of(scores, target, np.ones_like(target), np.arange(200))
    p, y = expit(scores).reshape(8, 25), target.reshape(8, 25)
    expected = np.abs(p.mean(1) - y.mean(1)).mean()
    assert CalibrationError(8)(sums)[0] == pytest.approx(expected, abs=1e-8)
    curve = reliability(sums, 8)
    np.testing.assert_allclose(curve.predicted[0], p.mean(1), atol=1e-8)
    np.testing.assert_allclose(curve.observed[0], y.mean(1))
    assert curve.num_entries.tolist() == [[25] * 8]


def test_calibration_error_of_calibrated_scores_is_small_and_finds_distortion() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal([-1, -5], 1.5, (60_000, 2))
    target = rng.random(scores.shape) < expit(scores)
    data = target, np.ones_like(target), np.arange(60_000)
    # noise of a group of 4,000 exams at p = .3: √(.21/4000) = .007, times E|N(0,1)| = .8
    assert (CalibrationError()(EvaluationSums.of(scores, *data)) < 0.006).all()
    assert (CalibrationError()(EvaluationSums.of(scores + 1, *data)) > 0.01).all()


def test_constant_scores_are_one_group() -> None:
    scores = np.full((100, 1), CENTRES[bin_of(-1.0)])
    target = np.arange(100)[:, None] < 40
    sums = EvaluationSums.of(scores, target, np.ones_like(target), np.arange(100))
    assert CalibrationError()(sums)[0] == pytest.approx(0.4 - expit(scores[0, 0]), abs=1e-8)
    assert np.isnan(reliability(sums).predicted).sum() == 14
