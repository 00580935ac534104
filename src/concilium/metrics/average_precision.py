"""Average precision from score histograms: Σ (R_k − R_{k−1}) P_k, without interpolation.

The definition of scikit-learn's ``average_precision_score``. All scores of a bin are one
threshold, as equal scores are there: on scores that stand at bin centres the values are equal.
``mean_precision_bounds`` says what the bins can cost at most; on the bins of
``evaluation.exact_ranks`` they cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from concilium.evaluation.histograms import Counts, Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.contract import Metric


def mean_precision(positives: npt.NDArray[np.number], negatives: npt.NDArray[np.number]) -> Floats:
    """Average precision (…) of histograms (…, B) by ascending score; NaN without positives.

    Entries are numbers or weights ≥ 0.
    """
    found = np.cumsum(positives[..., ::-1], axis=-1, dtype=np.float64)
    alerts = np.cumsum((positives + negatives)[..., ::-1], axis=-1, dtype=np.float64)
    precision = found / np.where(alerts == 0, 1, alerts)
    weighed = np.einsum("...b,...b->...", positives[..., ::-1], precision)
    return divide(weighed, found[..., -1])


def mean_precision_bounds(positives: Counts, negatives: Counts) -> tuple[Floats, Floats]:
    """Least and greatest average precision (…) that scores with these histograms (…, B) can have.

    A bin with p present and n absent entries, after F present and A absent ones in higher bins: the
    precision at the i-th present of them is at least (F + i) / (F + A + n + i), every absent one
    before it, and at most (F + p) / (F + A + p), where the present ones tie above the absent ones.
    Σ_i (F + i) / (C + i) = p − (A + n) (ψ(C + p + 1) − ψ(C + 1)) with C = F + A + n, ψ digamma.
    """
    p, n = (np.asarray(counts[..., ::-1], np.float64) for counts in (positives, negatives))
    found, alerts = np.cumsum(p, axis=-1), np.cumsum(p + n, axis=-1)
    least = p - (alerts - found) * (digamma(alerts + 1) - digamma(alerts - p + 1))
    greatest = p * found / np.maximum(alerts - n, 1)
    low, high = (divide(ends.sum(-1), found[..., -1]) for ends in (least, greatest))
    return low, high


def mean_precision_error(positives: Counts, negatives: Counts) -> Floats:
    """Largest possible error (…) of the average precision from histograms (…, B); NaN without
    positives.
    """
    low, high = mean_precision_bounds(positives, negatives)
    value = mean_precision(positives, negatives)
    return np.maximum(high - value, value - low)


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
