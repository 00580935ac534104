"""Brier score: mean squared error of the probabilities.

Glenn Brier, Verification of Forecasts Expressed in Terms of Probability, Monthly Weather Review
1950. Soft targets count as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class Brier(Metric):
    """Brier score of each label; lower is better, and prevalence × (1 − prevalence) is no skill."""

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Mean of (p − y)² over known entries (L,) in [0, 1]; NaN where nothing is known."""
        return divide(sums.squared_error, sums.statistics.known)
