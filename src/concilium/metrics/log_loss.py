"""Log loss (cross-entropy): mean of −y log p − (1 − y) log(1 − p), in nats.

Soft targets count as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


@dataclass(frozen=True)
class LogLoss(Metric):
    """Log loss of each label; lower is better."""

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Mean over known entries (L,), at least 0; NaN where nothing is known."""
        return divide(sums.log_loss, sums.statistics.known)
