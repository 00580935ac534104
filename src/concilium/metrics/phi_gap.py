"""Phi gap: how far the co-occurrence that a model predicts is from the true one.

phi is Pearson's correlation of two findings. The predicted one comes from the JOINT under the
model, P(l, m) = mean over images of p_l p_m (labels independent GIVEN the image), not from products
of marginals, which have no correlation. Both go over the images on which both labels are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.labels.correlation import phi
from concilium.metrics.contract import Metric


def predicted_phi(sums: EvaluationSums) -> Floats:
    """Phi under the model's joint (L, L); NaN where a probability is always 0 or always 1."""
    both_known = sums.statistics.both_known
    first = divide(sums.predicted_and_known, both_known)
    second = first.T
    covariance = divide(sums.predicted_pairs, both_known) - first * second
    spread = first * (1 - first) * second * (1 - second)
    return divide(covariance, np.sqrt(spread))


def phi_difference(sums: EvaluationSums) -> Floats:
    """Predicted minus true phi (L, L); NaN on the diagonal and where either is undefined."""
    difference = predicted_phi(sums) - phi(sums.statistics)
    np.fill_diagonal(difference, np.nan)
    return difference


def total_phi_gap(sums: EvaluationSums) -> float:
    """‖off-diagonal(phi_predicted − phi_true)‖_F over the defined pairs; NaN without any."""
    difference = phi_difference(sums)
    defined = ~np.isnan(difference)
    return float(np.linalg.norm(difference[defined])) if defined.any() else float("nan")


@dataclass(frozen=True)
class PhiGap(Metric):
    """Norm of each label's row of phi_predicted − phi_true, without the diagonal."""

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    def __call__(self, sums: EvaluationSums) -> Floats:
        """Norm over the defined pairs of each label (L,), at least 0; NaN where there is none."""
        difference = phi_difference(sums)
        defined = ~np.isnan(difference)
        norm = np.sqrt(np.square(np.where(defined, difference, 0)).sum(1))
        return np.where(defined.any(1), norm, np.nan)
