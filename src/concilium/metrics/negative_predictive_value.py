"""Negative predictive value at the thresholds: absent and quiet over all that is quiet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class NegativePredictiveValue(Metric):
    """Share of quiet entries that are right, at the prevalence of these exams."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """NPV (L,) in [0, 1]; NaN without a threshold and where everything raises an alert."""
        alerts, statistics = sums.alerts, sums.statistics
        quiet = statistics.known - alerts.true_alerts - alerts.false_alerts
        right = divide(statistics.negatives - alerts.false_alerts, quiet)
        return alerts.defined(right)
