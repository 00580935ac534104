"""Missed findings per 1,000 exams at a matched budget of alerts.

Two models are only comparable where they cost a reader the same: thresholds are put, on the
evaluated exams themselves, where all labels together raise the given number of alerts per 100
exams (``evaluation.thresholds.at_alert_budget``); then the present findings without alert count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from concilium.evaluation.histograms import EDGES, Floats, alerts_from, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_alert_budget
from concilium.metrics.contract import Metric


def exams_with_a_miss(sums: EvaluationSums) -> float:
    """Share of the exams with a finding in which at least one is missed, at the sums' thresholds.

    A label without a threshold misses its findings; NaN where no label has one, or no exam has a
    finding.
    """
    alerts = sums.alerts
    with_finding = alerts.exams_with_finding * alerts.has_threshold.any()
    return float(divide(alerts.exams_with_miss, with_finding))


@dataclass(frozen=True)
class MissedFindings(Metric):
    """Present findings without an alert, per 1,000 exams on which the label is known.

    ``alerts_per_100_exams``: the budget; ``shared``: specificity or score, see
    ``at_alert_budget``. The sum over labels is what 1,000 exams miss in all.
    """

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1000.0)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    alerts_per_100_exams: float = 100.0
    shared: str = "specificity"

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Misses per 1,000 exams (L,), at least 0; NaN where the label is not known.

        A label for which no threshold is defined never alerts: all its findings are missed.
        """
        limits = at_alert_budget(sums, self.alerts_per_100_exams, self.shared)
        edge = np.searchsorted(EDGES, np.where(np.isnan(limits), np.inf, limits))
        found = alerts_from(sums.positives)[np.arange(len(edge)), edge]
        statistics = sums.statistics
        return divide(1000 * (statistics.positives - found), statistics.known)
