"""Means over labels that say how many labels they leave out; the mean of nothing is NaN."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from concilium.evaluation.histograms import Bools, Floats
from concilium.foundation.checks import not_negative
from concilium.labels.frequency_groups import GROUPS, FrequencyGroup, frequency_groups
from concilium.labels.statistics import LabelStatistics


class Macro(NamedTuple):
    """A mean over labels, over how many it goes, and how many were left out."""

    mean: float
    num_labels: int
    num_left_out: int


def macro(
    values: npt.ArrayLike,
    statistics: LabelStatistics,
    min_positives: int = 10,
    labels: Bools | None = None,
) -> Macro:
    """Mean of values (L,) over labels with enough cases whose value is defined.

    ``labels`` (L,) bool restricts it, say to a frequency group; the others do not count as left
    out.
    """
    not_negative(min_positives=min_positives)
    own = np.asarray(values, np.float64)
    asked = np.ones(own.shape, np.bool_) if labels is None else np.asarray(labels, np.bool_)
    counted = asked & enough_cases(statistics, min_positives) & ~np.isnan(own)
    mean = float(own[counted].mean()) if counted.any() else float("nan")
    return Macro(mean, int(counted.sum()), int(asked.sum() - counted.sum()))


def enough_cases(statistics: LabelStatistics, min_positives: int = 10) -> Bools:
    """Which labels (L,) enter a mean: enough known positives, and at least one known negative.

    ``min_positives`` = 10: below it a label's value is mostly noise. Without a negative the average
    precision is 1 whatever the scores are.
    """
    return (statistics.positives >= min_positives) & (statistics.negatives > 0)


def by_frequency(
    values: npt.ArrayLike, statistics: LabelStatistics, min_positives: int = 10
) -> dict[FrequencyGroup, Macro]:
    """Mean of values (L,) over the head, the medium and the tail labels.

    ``statistics``: of the exams that were evaluated; they say which labels are frequent, too.
    """
    group = np.array(frequency_groups(statistics), object)
    return {name: macro(values, statistics, min_positives, group == name) for name in GROUPS}


def macro_replicates(
    values: Floats, statistics: LabelStatistics, min_positives: int = 10
) -> Floats:
    """Mean over labels of each replicate (R,) of values (R, L): what an interval of it needs.

    The same labels in each replicate; NaN where one of them is undefined in it.
    """
    counted = enough_cases(statistics, min_positives)
    if not counted.any():
        return np.full(len(values), np.nan)
    return np.asarray(values[:, counted].mean(1), np.float64)
