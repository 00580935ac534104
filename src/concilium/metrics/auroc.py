"""Area under the ROC curve from score histograms; pairs in one bin count one half.

P(score of a positive > that of a negative) + ½ P(equal): the normalised Mann-Whitney statistic,
James Hanley and Barbara McNeil, The Meaning and Use of the Area under a Receiver Operating
Characteristic (ROC) Curve, Radiology 1982. ``evaluation.histograms.ties`` bounds what the bins
cost; on the bins of ``evaluation.exact_ranks`` they cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


def area_under_roc(positives: npt.NDArray[np.number], negatives: npt.NDArray[np.number]) -> Floats:
    """AUROC (…) of histograms (…, B) by ascending score; NaN without positives or negatives.

    Entries are numbers or weights ≥ 0.
    """
    up_to = np.cumsum(negatives, axis=-1, dtype=np.float64)
    below = up_to - negatives / 2
    won = np.einsum("...b,...b->...", positives, below)
    return divide(won, positives.sum(-1) * up_to[..., -1])


@dataclass(frozen=True)
class Auroc(Metric):
    """AUROC of each label."""

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """AUROC (L,) in [0, 1]; 0.5 is chance, also for a constant score."""
        return area_under_roc(sums.positives, sums.negatives)
