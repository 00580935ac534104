"""Recall of label sets: P(all of the set alerted | all of the set present), at the thresholds.

Averages over labels hide what happens to rare combinations. ``erasure`` compares a federated with
a pooled model, ``forgetting`` a round with the best one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


def set_recall(sums: EvaluationSums) -> Floats:
    """Recall of each label set of the sums (S,); NaN where no exam has it, and where one of its
    labels has no threshold.
    """
    alerts = sums.alerts
    has = [bool(alerts.has_threshold[list(labels)].all()) for labels in alerts.label_sets]
    return divide(alerts.set_found, alerts.set_present * np.array(has, np.bool_))


def pair_recall(sums: EvaluationSums) -> Floats:
    """Recall of each pair (L, L), symmetric; NaN on the diagonal and as ``set_recall``."""
    matrix = sums.alerts.defined(divide(sums.alerts.both_found, sums.statistics.both_present))
    np.fill_diagonal(matrix, np.nan)
    return matrix


def erasure(federated: npt.ArrayLike, pooled: npt.ArrayLike) -> Floats:
    """1 − recall_federated / recall_pooled (…): the share of the pooled recall that is lost.

    Negative where the federated model is better; NaN where the pooled recall is 0 or undefined.
    """
    kept = divide(federated, pooled)
    return 1 - kept


def forgetting(history: npt.ArrayLike) -> Floats:
    """Best recall before each round minus its own (T, …), of a recall by round (T, …).

    Negative where a round is the best so far; NaN in the first round and where nothing earlier, or
    the round itself, is defined.
    """
    values = np.asarray(history, np.float64)
    best = np.full(values.shape, np.nan)
    for t in range(1, len(values)):
        best[t] = np.fmax(best[t - 1], values[t - 1])
    return best - values


@dataclass(frozen=True)
class LabelSetRecall(Metric):
    """Recall over the pairs that contain a label: both alerted among both present."""

    needs_thresholds: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Pairs found over pairs present (L,) in [0, 1]; NaN where none is present."""
        usable = ~np.isnan(pair_recall(sums))
        found = np.where(usable, sums.alerts.both_found, 0).sum(1)
        return divide(found, np.where(usable, sums.statistics.both_present, 0).sum(1))
