"""Head, medium and tail by prevalence among KNOWN images."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.foundation.errors import InputError
from concilium.labels.frequency_groups import frequency_groups
from concilium.labels.statistics import LabelStatistics


def statistics_with(known: list[int], positives: list[int]) -> LabelStatistics:
    both = np.diag(positives).astype(np.int64)
    return LabelStatistics(1000, 1000, np.diag(known).astype(np.int64), both, both)


def test_the_borders_belong_to_the_rarer_group() -> None:
    # Of 1,000 known: 10.1 %, 10 %, 1.1 %, 1 % and 0 %.
    groups = frequency_groups(statistics_with([1000] * 5, [101, 100, 11, 10, 0]))
    assert groups == ("head", "medium", "medium", "tail", "tail")


def test_prevalence_is_among_known_images() -> None:
    # 20 positives are 2 % of 1,000 images, but 20 % of the 100 that say something of the label.
    assert frequency_groups(statistics_with([100], [20])) == ("head",)


def test_a_label_that_nobody_knows_is_in_no_group() -> None:
    assert frequency_groups(statistics_with([0, 10], [0, 0])) == (None, "tail")


def test_thresholds_can_be_set_and_must_be_in_order() -> None:
    statistics = statistics_with([100], [20])
    assert frequency_groups(statistics, head=0.2, tail=0.05) == ("medium",)
    with pytest.raises(InputError, match=r"tail=0.3 must be at most head=0.2"):
        frequency_groups(statistics, head=0.2, tail=0.3)


def test_permuting_the_labels_permutes_the_groups() -> None:
    known, positives = [1000, 0, 1000, 1000], [500, 0, 50, 5]
    order = [2, 3, 0, 1]
    whole = frequency_groups(statistics_with(known, positives))
    permuted = frequency_groups(
        statistics_with([known[i] for i in order], [positives[i] for i in order])
    )
    assert permuted == tuple(whole[i] for i in order)
