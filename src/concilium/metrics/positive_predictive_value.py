"""Positive predictive value (precision) at the thresholds: true alerts over alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class PositivePredictiveValue(Metric):
    """Share of alerts that are right, at the prevalence of these exams."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """PPV (L,) in [0, 1]; NaN without a threshold and without any alert."""
        alerts = sums.alerts
        right = divide(alerts.true_alerts, alerts.true_alerts + alerts.false_alerts)
        return alerts.defined(right)
