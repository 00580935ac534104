"""False coupling: FC(l|m) = P(alert l | m present, l absent), at the thresholds of the sums.

A model that has learnt that l goes with m raises l wherever it sees m. At thresholds of 90 %
specificity the ideal is 0.10, 1 − specificity: absent l alerts as often beside m as elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.checks import at_least
from concilium.metrics.contract import Metric


def false_coupling_matrix(sums: EvaluationSums, min_cases: int = 1) -> Floats:
    """FC(l|m) in row l and column m (L, L); NaN on the diagonal, without a threshold for l, and
    with fewer than ``min_cases`` exams on which m is present and l is known to be absent.
    """
    at_least(1, min_cases=min_cases)
    statistics = sums.statistics
    absent_beside = statistics.present_and_known.T - statistics.both_present
    enough = absent_beside >= min_cases
    np.fill_diagonal(enough, False)
    matrix = divide(sums.alerts.false_alerts_beside, absent_beside * enough)
    return np.where(sums.alerts.has_threshold[:, None], matrix, np.nan)


def mean_coupling(matrix: Floats) -> Floats:
    """Mean of FC(l|m) over the m for which it is defined (L,); NaN where there is none."""
    defined = ~np.isnan(matrix)
    return divide(np.where(defined, matrix, 0).sum(1), defined.sum(1))


@dataclass(frozen=True)
class FalseCoupling(Metric):
    """Mean of FC(l|m) over the other labels m."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    min_cases: int = 10

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Mean over the m with enough cases (L,) in [0, 1]; NaN where there is none."""
        return mean_coupling(false_coupling_matrix(sums, self.min_cases))
