"""Specificity at the thresholds of the sums: negatives without an alert over negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class Specificity(Metric):
    """Share of absent findings that raise no alert."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Specificity (L,) in [0, 1]; NaN without a threshold and without negatives."""
        negatives = sums.statistics.negatives
        quiet = divide(negatives - sums.alerts.false_alerts, negatives)
        return sums.alerts.defined(quiet)
