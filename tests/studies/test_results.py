"""Descriptions: means of what is defined, and intervals over the labels that the mean goes over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from concilium.evaluation.averages import macro_replicates
from concilium.evaluation.bootstrap import interval, replicate_sums
from concilium.evaluation.calibration import Calibration
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.auroc import area_under_roc
from concilium.orchestration.phases import Assessment, Operation
from concilium.studies.results import describe, exams, mean_of

NAN = np.nan


def test_the_mean_of_descriptions_is_that_of_defined_numbers_leaf_by_leaf() -> None:
    descriptions = [
        {"name": "a", "score": 0.2, "by_label": np.array([0.1, NAN, NAN]), "sets": [{"r": NAN}]},
        {"name": "a", "score": NAN, "by_label": np.array([0.3, 0.5, NAN]), "sets": [{"r": 1.0}]},
        {"name": "a", "score": 0.6, "by_label": np.array([0.8, 0.7, NAN]), "sets": [{"r": 0.5}]},
    ]
    found = mean_of(descriptions)
    assert found["name"] == "a"
    assert found["score"] == pytest.approx(0.4)
    np.testing.assert_allclose(found["by_label"], [0.4, 0.6, NAN])
    assert found["sets"] == [{"r": pytest.approx(0.75)}]


def test_the_mean_of_nothing_defined_is_nan_and_never_zero() -> None:
    found = mean_of([{"score": NAN}, {"score": NAN}])
    assert np.isnan(found["score"])


def described(min_positives: int) -> tuple[dict[str, Any], EvaluationSums, np.ndarray]:
    """200 exams of two labels, the second with three positives; and AUROC of 40 replicates."""
    generator = np.random.default_rng(0)
    target = np.arange(200)[:, None] < [80, 3]
    scores = generator.normal(size=(200, 2)) + [1.0, 3.0] * target
    data = scores, target, np.ones_like(target), np.arange(200)
    sums = EvaluationSums.of(*data, np.zeros(2), ((0, 1),))
    drawn = replicate_sums(*data, 40, 0)
    found = describe(
        Assessment({"a": sums}, drawn),
        Operation(Calibration.identity(2), np.zeros(2)),
        ("common", "rare"),
        ("head", "medium"),
        min_positives,
    )
    return found, sums, drawn.values(area_under_roc)


@pytest.mark.parametrize("min_positives", [1, 10])
def test_the_interval_of_a_mean_goes_over_the_labels_of_the_mean(min_positives: int) -> None:
    found, sums, values = described(min_positives)
    counted = [0, 1] if min_positives == 1 else [0]
    mean = found["metrics"]["auroc"][counted].mean()
    assert found["macro"]["auroc"]["mean"] == pytest.approx(mean)
    over = interval(macro_replicates(values, sums.statistics, min_positives))
    by_hand = interval(values[:, counted].mean(1))
    expected = [float(by_hand.low), float(by_hand.high)]
    assert found["intervals"]["auroc"]["macro"] == pytest.approx(expected, nan_ok=True)
    assert [float(over.low), float(over.high)] == pytest.approx(expected, nan_ok=True)
    assert expected[0] < mean < expected[1]


def test_a_frequency_group_is_a_mean_over_its_own_labels() -> None:
    found, _, _ = described(min_positives=1)
    for group, label in (("head", 0), ("medium", 1)):
        own = found["by_group"][group]["auroc"]
        assert own["mean"] == pytest.approx(found["metrics"]["auroc"][label])
        assert (own["num_labels"], own["num_left_out"]) == (1, 0)
    assert np.isnan(found["by_group"]["tail"]["auroc"]["mean"])


def test_misses_are_undefined_where_no_label_has_a_threshold() -> None:
    """Nothing was alerted because nothing could be: that is neither a miss nor none."""
    target = np.array([[True], [False]])
    data = np.zeros((2, 1)), target, np.ones_like(target), np.arange(2)
    never = exams(EvaluationSums.of(*data, [NAN]))
    assert never["with_finding"] == 1
    assert all(np.isnan(value) for name, value in never.items() if name != "with_finding")
    on_purpose = exams(EvaluationSums.of(*data, [np.inf]))
    assert (on_purpose["with_miss"], on_purpose["with_alert"]) == (1, 0)
    assert on_purpose["missed_findings_per_1000"] == 500
