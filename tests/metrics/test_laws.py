"""What holds for every file of the folder of metrics, by what each declares of itself.

A new metric is one new file there; nothing here names a metric.
"""

from __future__ import annotations

import numpy as np
import pytest

from concilium.evaluation.sums import EvaluationSums
from concilium.foundation import components
from concilium.metrics.contract import DECLARED, Metric

THRESHOLDS = np.array([-0.5, 0.0, -1.0, 0.5])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "metric" in metafunc.fixturenames:
        names = components.names("metrics")
        metafunc.parametrize("metric", [components.build("metrics", n) for n in names], ids=names)


def exams() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    target = rng.random((400, 4)) < [0.5, 0.3, 0.3, 0.1]
    target[:, 2] |= target[:, 0] & (rng.random(400) < 0.5)
    scores = rng.normal(-0.5, 1.5, (400, 4)) + target
    return scores, target, rng.random((400, 4)) < 0.9, np.arange(400)


def scored(score: float) -> EvaluationSums:
    """Exams whose positives score so much and negatives as much below 0; threshold 0.

    Everything is known, every pair occurs, and there is less than one finding in an exam, so that
    100 alerts in 100 exams can find them all.
    """
    _, target, _, patient = exams()
    rare = target & (np.arange(400)[:, None] % 2 == 0)
    return EvaluationSums.of(
        np.where(rare, score, -score), rare, np.ones_like(rare), patient, np.zeros(4)
    )


def test_it_declares_what_laws_and_tables_need(metric: Metric) -> None:
    assert all(hasattr(metric, name) for name in DECLARED)
    low, high = metric.range
    assert low < high
    assert low <= metric.ideal <= high
    assert metric.ideal == (high if metric.higher_is_better else low)


def test_one_number_a_label_in_its_range(metric: Metric) -> None:
    values = metric(EvaluationSums.of(*exams(), THRESHOLDS))
    assert values.shape == (4,) and values.dtype == np.float64
    assert np.isfinite(values).all()
    low, high = metric.range
    assert (values >= low).all() and (values <= high).all()


def test_a_model_that_never_errs_reaches_the_ideal(metric: Metric) -> None:
    # At a logit of 20 a probability is 2e-9 from 0 or 1; sums are kept on a grid of 2^-16 or finer.
    np.testing.assert_allclose(metric(scored(20.0)), metric.ideal, atol=1e-3)


def test_the_better_of_two_models_is_on_the_side_that_is_declared(metric: Metric) -> None:
    """One that never errs, against one that is always wrong; where both are defined."""
    right, wrong = metric(scored(20.0)), metric(scored(-20.0))
    both = ~np.isnan(right - wrong)
    assert ((right > wrong) if metric.higher_is_better else (right < wrong))[both].all()


def test_nothing_known_is_nan_and_never_zero(metric: Metric) -> None:
    assert np.isnan(metric(EvaluationSums.zero(3, np.zeros(3)))).all()
    scores, target, known, patient = exams()
    known[:, 1] = False
    values = metric(EvaluationSums.of(scores, target, known, patient, THRESHOLDS))
    assert np.isnan(values).tolist() == [False, True, False, False]


def test_permuting_labels_permutes_values(metric: Metric) -> None:
    scores, target, known, patient = exams()
    order = np.array([2, 0, 3, 1])
    data = (part[:, order] for part in (scores, target, known))
    permuted = metric(EvaluationSums.of(*data, patient, THRESHOLDS[order]))
    straight = metric(EvaluationSums.of(*exams(), THRESHOLDS))
    np.testing.assert_allclose(permuted, straight[order], rtol=1e-12)


def test_exams_twice_change_nothing(metric: Metric) -> None:
    """Every metric is a rate: twice the same hospital has the same value."""
    sums = EvaluationSums.of(*exams(), THRESHOLDS)
    np.testing.assert_allclose(metric(sums + sums), metric(sums), rtol=1e-12)


def test_without_thresholds_what_needs_them_is_nan(metric: Metric) -> None:
    values = metric(EvaluationSums.of(*exams()))
    assert np.isnan(values).tolist() == [metric.needs_thresholds] * 4


def test_one_label_without_a_threshold_is_nan_alone(metric: Metric) -> None:
    limits = np.where(np.arange(4) == 2, np.nan, THRESHOLDS)
    values = metric(EvaluationSums.of(*exams(), limits))
    assert np.isnan(values).tolist() == [False, False, metric.needs_thresholds, False]
