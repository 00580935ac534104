"""Platt scaling from histograms: recovers what was put in, equals scikit-learn on bin centres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from concilium.evaluation.calibration import Calibration, fit_calibration
from concilium.evaluation.histograms import CENTRES
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.errors import InputError
from concilium.metrics.auroc import Auroc
from concilium.metrics.calibration_error import CalibrationError
from concilium.metrics.log_loss import LogLoss


def sums_of(scores: np.ndarray, target: np.ndarray) -> EvaluationSums:
    return EvaluationSums.of(scores, target, np.ones_like(target, bool), np.arange(len(scores)))


def distorted(num_exams: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two labels whose true log-odds are 0.5 z − 1 and 2 z + 0.5, of scores z at bin centres."""
    rng = np.random.default_rng(seed)
    scores = rng.choice(CENTRES[448:576], (num_exams, 2))  # −2 … 2
    return scores, rng.random((num_exams, 2)) < expit(scores * [0.5, 2] + [-1, 0.5])


def test_recovers_known_slope_and_offset() -> None:
    fitted = fit_calibration(sums_of(*distorted(40_000)))
    # standard errors are about .010–.022 at 40,000 exams
    np.testing.assert_allclose(fitted.slope, [0.5, 2.0], atol=0.06)
    np.testing.assert_allclose(fitted.offset, [-1.0, 0.5], atol=0.05)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_equals_logistic_regression_on_bin_centres(scale: float) -> None:
    scores, target = distorted(800)
    scores = CENTRES[np.searchsorted(CENTRES, scores * scale)]
    fitted = fit_calibration(sums_of(scores, target), smooth_targets=False)
    for label in range(2):
        model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky")
        model.fit(scores[:, [label]], target[:, label])
        assert fitted.slope[label] == pytest.approx(model.coef_[0, 0], abs=1e-7)
        assert fitted.offset[label] == pytest.approx(model.intercept_[0], abs=1e-7)


def test_platts_targets_keep_separable_scores_finite() -> None:
    scores = np.repeat([[-3.0], [3.0]], 20, axis=0)
    fitted = fit_calibration(sums_of(scores, scores > 0))
    # 20 of each: the fitted probabilities are Platt's targets, 21/22 and 1/22, at the bin centres
    at = fitted.apply(CENTRES[[416, 608]][:, None])
    np.testing.assert_allclose(expit(at[:, 0]), [1 / 22, 21 / 22], atol=1e-9)


def test_calibration_lowers_the_losses_and_keeps_the_order() -> None:
    scores, target = distorted(4000)
    before = sums_of(scores, target)
    after = sums_of(fit_calibration(before).apply(scores), target)
    assert (LogLoss()(after) < LogLoss()(before) - 0.02).all()
    assert (CalibrationError()(after) < 0.04).all() and (CalibrationError()(before) > 0.08).all()
    np.testing.assert_allclose(Auroc()(after), Auroc()(before), atol=0.01)


def test_too_few_cases_leave_a_label_as_it_is_and_are_counted() -> None:
    rng = np.random.default_rng(0)
    target = np.zeros((100, 3), bool)
    target[:9, 0], target[:10, 1] = True, True
    fitted = fit_calibration(sums_of(rng.normal(size=(100, 3)), target))
    assert fitted.slope[[0, 2]].tolist() == [1, 1] and fitted.offset[[0, 2]].tolist() == [0, 0]
    assert fitted.offset[1] != 0 and fitted.num_identity == 2
    assert fit_calibration(EvaluationSums.zero(3)).num_identity == 3


@pytest.mark.parametrize("scores", [np.zeros(1000), np.tile([2.0, -2.0], 500)])
def test_useless_scores_keep_slope_one_and_get_the_best_offset(scores: np.ndarray) -> None:
    target = np.tile([0, 1, 0, 0], 250)  # the second kind of score is LOWER for positives
    fitted = fit_calibration(sums_of(scores[:, None], target[:, None]))
    assert fitted.slope[0] == 1
    # the mean of the calibrated probabilities is the prevalence; scores stand at bin centres
    calibrated = expit(fitted.apply(scores[:, None]))
    assert calibrated.mean() == pytest.approx(0.25, abs=0.01)


def test_temperature_has_no_offset_and_offset_no_slope() -> None:
    sums = sums_of(*distorted(2000))
    temperature, offset = fit_calibration(sums, "temperature"), fit_calibration(sums, "offset")
    assert (temperature.offset == 0).all() and (temperature.slope != 1).all()
    assert (offset.slope == 1).all() and (offset.offset != 0).all()


def test_scores_that_miss_at_full_confidence_are_tamed() -> None:
    """Two in ten wrong at logits of ±15, where a plain Newton step from slope 1 overshoots."""
    scores = np.repeat([[-15.0], [15.0]], 500, axis=0)
    target = np.concatenate([np.arange(500) < 100, np.arange(500) >= 100])[:, None]
    fitted = fit_calibration(sums_of(scores, target), smooth_targets=False)
    calibrated = expit(fitted.apply(CENTRES[[32, 992]][:, None]))
    np.testing.assert_allclose(calibrated[:, 0], [0.2, 0.8], atol=1e-6)


def test_apply_keeps_type_and_goes_over_any_batch() -> None:
    calibration = Calibration(np.array([2.0, 0.5]), np.array([1.0, -1.0]))
    scores = np.array([[[1.0, 4.0]]], np.float32)
    assert calibration.apply(scores).dtype == np.float32
    assert calibration.apply(scores).tolist() == [[[3.0, 1.0]]]
    tensor = calibration.apply(torch.tensor(scores))
    assert tensor.dtype == torch.float32 and tensor.tolist() == [[[3.0, 1.0]]]
    again = Calibration.from_arrays(calibration.to_arrays())
    assert again.slope.tolist() == [2.0, 0.5] and again.offset.tolist() == [1.0, -1.0]
    assert Calibration.identity(2).apply(scores).tolist() == scores.tolist()


def test_a_calibration_that_reverses_the_order_is_refused() -> None:
    for slope in (0.0, -1.0, np.nan):
        with pytest.raises(InputError):
            Calibration(np.array([slope]), np.zeros(1))
