"""F1 at the thresholds of the sums: 2 TP / (2 TP + FP + FN)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class F1(Metric):
    """F1 of each label."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """F1 (L,) in [0, 1]; NaN without a threshold, and without any positive.

        Without a positive the precision of any alert is 0 by lack of cases, not of skill.
        """
        alerts, positives = sums.alerts, sums.statistics.positives
        all_alerts = alerts.true_alerts + alerts.false_alerts
        values = divide(2 * alerts.true_alerts, (positives + all_alerts) * (positives > 0))
        return alerts.defined(values)
