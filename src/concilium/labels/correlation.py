"""How labels go together, from label statistics: conditional prevalence, phi, PMI.

Each entry (l, m) is taken over the images on which BOTH labels are known, so that a hospital that
does not annotate m says nothing of the pair. Undefined is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from concilium.labels.statistics import LabelStatistics

Floats = npt.NDArray[np.float64]


def conditional_prevalence(statistics: LabelStatistics) -> Floats:
    """P(l | m) at [l, m] (L, L): how often l is present where m is; NaN where m never is."""
    return _divide(statistics.both_present, statistics.present_and_known.T)


def phi(statistics: LabelStatistics) -> Floats:
    """Compute Pearson's correlation of every two labels (L, L), in [-1, 1].

    phi = (n n₁₁ − n₁ n₂) / √(n₁ (n − n₁) n₂ (n − n₂)); NaN where one of the two never varies among
    the images on which both are known.
    """
    n = statistics.both_known.astype(np.float64)
    first = statistics.present_and_known.astype(np.float64)
    second = first.T
    covariance = n * statistics.both_present - first * second
    variances = first * (n - first) * second * (n - second)
    return _divide(covariance, np.sqrt(variances))


def pointwise_mutual_information(statistics: LabelStatistics) -> Floats:
    """Compute log P(l, m) / (P(l) P(m)) of every two labels (L, L), in nats.

    0 for independent labels, −∞ for two that occur but never together, NaN where one never occurs.
    """
    first = statistics.present_and_known.astype(np.float64)
    ratio = _divide(statistics.both_known * statistics.both_present, first * first.T)
    with np.errstate(divide="ignore"):
        return np.log(ratio)


def _divide(numerator: npt.NDArray[np.generic], denominator: npt.NDArray[np.generic]) -> Floats:
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
