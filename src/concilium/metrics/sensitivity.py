"""Sensitivity (recall) at the thresholds of the sums: alerted positives over positives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class Sensitivity(Metric):
    """Share of present findings that raise an alert."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Sensitivity (L,) in [0, 1]; NaN without a threshold and without positives."""
        found = divide(sums.alerts.true_alerts, sums.statistics.positives)
        return sums.alerts.defined(found)
