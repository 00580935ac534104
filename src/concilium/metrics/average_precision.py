"""Average precision from score histograms: Σ (R_k − R_{k−1}) P_k, without interpolation.

The definition of scikit-learn's ``average_precision_score``. All scores of a bin are one
threshold, as equal scores are there: on scores that stand at bin centres the values are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


def mean_precision(
    positives: npt.NDArray[np.integer], negatives: npt.NDArray[np.integer]
) -> Floats:
    """Average precision (…) of histograms (…, B) by ascending score; NaN without positives."""
    found = np.cumsum(positives[..., ::-1], axis=-1, dtype=np.float64)
    alerts = np.cumsum((positives + negatives)[..., ::-1], axis=-1, dtype=np.float64)
    precision = found / np.maximum(alerts, 1)
    weighed = np.einsum("...b,...b->...", positives[..., ::-1], precision)
    return divide(weighed, found[..., -1])


@dataclass(frozen=True)
class AveragePrecision(Metric):
    """Average precision of each label; its mean over labels is mAP."""

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    ideal: ClassVar[float] = 1.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Average precision (L,) in (0, 1]; chance is the prevalence. NaN without positives."""
        return mean_precision(sums.positives, sums.negatives)
