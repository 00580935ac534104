"""Missed second finding: P(miss l' | l found, l' present), at the thresholds of the sums.

A reader who was shown one finding stops searching (satisfaction of search): what matters is
whether the model shows the second one too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


def missed_second_matrix(sums: EvaluationSums) -> Floats:
    """P(miss m | l found, m present) in row l and column m (L, L).

    NaN on the diagonal, where one of both has no threshold, and where l is never found beside m.
    """
    alerts = sums.alerts
    matrix = alerts.defined(divide(alerts.found_beside - alerts.both_found, alerts.found_beside))
    np.fill_diagonal(matrix, np.nan)
    return matrix


@dataclass(frozen=True)
class MissedSecondFinding(Metric):
    """Share of the other present findings that are missed where this one is found."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Other findings missed over other findings present (L,); NaN where there is none."""
        usable = ~np.isnan(missed_second_matrix(sums))
        beside = np.where(usable, sums.alerts.found_beside, 0).sum(1)
        return divide(beside - np.where(usable, sums.alerts.both_found, 0).sum(1), beside)
