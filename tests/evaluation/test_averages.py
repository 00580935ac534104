"""Means over labels: who is in, who is left out, and that it is said."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.evaluation.averages import by_frequency, macro
from concilium.labels.statistics import LabelStatistics


def statistics() -> LabelStatistics:
    """1,000 exams; positives 300, 50, 10, 5 and nothing known of the last: head … tail."""
    target = np.arange(1000)[:, None] < [300, 50, 10, 5, 0]
    known = np.ones_like(target)
    known[:, 4] = False
    return LabelStatistics.of(target.astype(np.float32), known, np.arange(1000))


def test_few_positives_and_undefined_values_are_left_out_and_counted() -> None:
    values = [0.9, np.nan, 0.7, 0.1, 0.1]
    assert macro(values, statistics()) == (pytest.approx(0.8), 2, 3)
    # Without a least number of positives the fourth counts, too; nothing is known of the fifth.
    assert macro(values, statistics(), min_positives=0) == (pytest.approx(1.7 / 3), 3, 2)


def test_a_label_without_negatives_is_left_out() -> None:
    """Its average precision is 1 whatever the scores are."""
    target = np.ones((20, 2), np.float32)
    target[:10, 0] = 0
    counts = LabelStatistics.of(target, target >= 0, np.arange(20))
    assert macro([0.6, 1.0], counts) == (pytest.approx(0.6), 1, 1)


def test_the_mean_of_nothing_is_nan() -> None:
    result = macro([np.nan] * 5, statistics())
    assert np.isnan(result.mean) and (result.num_labels, result.num_left_out) == (0, 5)


def test_frequency_groups_share_the_labels_among_them() -> None:
    groups = by_frequency([0.9, 0.8, 0.7, 0.1, 0.1], statistics())
    assert groups["head"] == (pytest.approx(0.9), 1, 0)
    assert groups["medium"] == (pytest.approx(0.8), 1, 0)
    assert groups["tail"] == (pytest.approx(0.7), 1, 1)  # 10 of 1,000 is still tail; 5 too few
