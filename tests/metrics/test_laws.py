"""What holds for every file of the folder of metrics."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.evaluation.sums import EvaluationSums
from concilium.foundation import components
from concilium.metrics.contract import Metric

THRESHOLDS = np.array([-0.5, 0.0, -1.0, 0.5])
NEEDS_ALERTS = {
    "f1",
    "sensitivity",
    "specificity",
    "positive_predictive_value",
    "negative_predictive_value",
    "false_coupling",
    "label_set_recall",
    "missed_second_finding",
}


@pytest.fixture(params=components.names("metrics"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def metric(name: str) -> Metric:
    built: Metric = components.build("metrics", name)
    return built


def exams() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    target = rng.random((400, 4)) < [0.5, 0.3, 0.3, 0.1]
    target[:, 2] |= target[:, 0] & (rng.random(400) < 0.5)
    scores = rng.normal(-0.5, 1.5, (400, 4)) + target
    return scores, target, rng.random((400, 4)) < 0.9, np.arange(400)


def test_one_number_a_label_in_its_range(name: str) -> None:
    values = metric(name)(EvaluationSums.of(*exams(), THRESHOLDS))
    assert values.shape == (4,) and values.dtype == np.float64
    assert np.isfinite(values).all() and (values >= 0).all()
    if name not in {"log_loss", "phi_gap", "missed_findings"}:
        assert (values <= 1).all()


def test_nothing_known_is_nan_and_never_zero(name: str) -> None:
    assert np.isnan(metric(name)(EvaluationSums.zero(3, np.zeros(3)))).all()
    scores, target, known, patient = exams()
    known[:, 1] = False
    values = metric(name)(EvaluationSums.of(scores, target, known, patient, THRESHOLDS))
    assert np.isnan(values).tolist() == [False, True, False, False]


def test_permuting_labels_permutes_values(name: str) -> None:
    scores, target, known, patient = exams()
    order = np.array([2, 0, 3, 1])
    data = (part[:, order] for part in (scores, target, known))
    permuted = metric(name)(EvaluationSums.of(*data, patient, THRESHOLDS[order]))
    straight = metric(name)(EvaluationSums.of(*exams(), THRESHOLDS))
    np.testing.assert_allclose(permuted, straight[order], rtol=1e-12)


def test_exams_twice_change_nothing(name: str) -> None:
    """Every metric is a rate: twice the same hospital has the same value."""
    sums = EvaluationSums.of(*exams(), THRESHOLDS)
    np.testing.assert_allclose(metric(name)(sums + sums), metric(name)(sums), rtol=1e-12)


def test_without_thresholds_what_needs_them_is_nan(name: str) -> None:
    values = metric(name)(EvaluationSums.of(*exams()))
    assert np.isnan(values).all() == (name in NEEDS_ALERTS)


def test_one_label_without_a_threshold_is_nan_alone(name: str) -> None:
    limits = np.where(np.arange(4) == 2, np.nan, THRESHOLDS)
    values = metric(name)(EvaluationSums.of(*exams(), limits))
    assert np.isnan(values).tolist() == [False, False, name in NEEDS_ALERTS, False]
