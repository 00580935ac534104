"""Platt scaling from summed score histograms: calibrated probabilities without another exchange.

John Platt, Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
Likelihood Methods, Advances in Large Margin Classifiers 1999: p = σ(a z + b), fitted by maximum
likelihood on held-out scores, here with targets (N⁺+1)/(N⁺+2) and 1/(N⁻+2) instead of 1 and 0.
The numerically stable likelihood is that of Lin, Lin and Weng, Machine Learning 2007. Temperature
scaling (Guo et al., ICML 2017, arXiv:1706.04599) is a alone. Scores stand at their bin's centre.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit

from concilium.evaluation.histograms import CENTRES, Bools, Floats
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.checks import not_negative, one_of
from concilium.foundation.errors import InputError

Scores = TypeVar("Scores", Floats, npt.NDArray[np.float32], torch.Tensor)

FREE = {"platt": (True, True), "temperature": (True, False), "offset": (False, True)}
MAX_STEPS = 100
TOLERANCE = 1e-12  # of the Newton decrement, relative to the number of entries


@dataclass(frozen=True)
class Calibration:
    """Calibrated score = slope × score + offset; slope (L,) > 0, offset (L,), both finite.

    As the slope is positive, the order of the exams, AUROC and average precision do not change.
    """

    slope: Floats
    offset: Floats

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope).all() and np.isfinite(self.offset).all()):
            raise InputError("slope and offset of a calibration must be finite")
        if not (self.slope > 0).all():
            raise InputError("the slope of a calibration must be > 0: else it reverses the order")

    @staticmethod
    def identity(num_labels: int) -> Calibration:
        """The calibration that changes nothing."""
        return Calibration(np.ones(num_labels), np.zeros(num_labels))

    @property
    def num_identity(self) -> int:
        """How many labels are left as they are: too few cases to fit, or no need."""
        return int(((self.slope == 1) & (self.offset == 0)).sum())

    def apply(self, scores: Scores) -> Scores:
        """Calibrated scores of scores (…, L), in their own type; to be followed by a sigmoid."""
        if isinstance(scores, torch.Tensor):
            slope, offset = torch.from_numpy(self.slope), torch.from_numpy(self.offset)
            return scores * slope.to(scores) + offset.to(scores)
        return scores * self.slope.astype(scores.dtype) + self.offset.astype(scores.dtype)

    def to_arrays(self) -> dict[str, Floats]:
        """The fields by name, to save them."""
        return {"slope": self.slope.copy(), "offset": self.offset.copy()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.ArrayLike]) -> Calibration:
        """The calibration from ``to_arrays``."""
        slope, offset = (np.array(arrays[name], np.float64) for name in ("slope", "offset"))
        return Calibration(slope, offset)


def fit_calibration(
    sums: EvaluationSums,
    method: str = "platt",
    min_cases: int = 10,
    smooth_targets: bool = True,
) -> Calibration:
    """Slope and offset of each label from the sums of validation exams.

    ``method``: platt (slope and offset), temperature (slope), offset. A label with fewer than
    ``min_cases`` positives or negatives keeps slope 1 and offset 0 (``num_identity`` counts them).
    A label whose best slope is not positive (its scores are no better than chance, or all the
    same) gets slope 1 and the best offset, or none with temperature. ``smooth_targets``: Platt's
    targets, finite also for separable scores; without them it is plain logistic regression.
    """
    one_of(FREE, method=method)
    not_negative(min_cases=min_cases)
    negatives, positives = sums.negatives.astype(np.float64), sums.positives.astype(np.float64)
    enough = np.minimum(negatives.sum(1), positives.sum(1)) >= max(min_cases, 1)
    total, present = positives + negatives, positives
    if smooth_targets:
        present = _smooth(positives, negatives)
    varied = (total > 0).sum(1) > 1
    free = np.array(FREE[method]) & enough[:, None]
    free[:, 0] &= varied
    fitted = _newton(present, total, free)
    bad = ~(np.isfinite(fitted).all(1) & (fitted[:, 0] > 0))
    if bad.any():
        free[bad, 0] = False
        again = _newton(present, total, free)
        fitted = np.where(bad[:, None], again, fitted)
    return Calibration(fitted[:, 0].copy(), fitted[:, 1].copy())


def _smooth(positives: Floats, negatives: Floats) -> Floats:
    """Platt's targets, as the expected number of positives in each bin (L, B)."""
    num_positives = positives.sum(1, keepdims=True)
    num_negatives = negatives.sum(1, keepdims=True)
    high, low = (num_positives + 1) / (num_positives + 2), 1 / (num_negatives + 2)
    return np.asarray(positives * high + negatives * low, np.float64)


def _newton(present: Floats, total: Floats, free: Bools) -> Floats:
    """Maximum-likelihood slope and offset (L, 2), from 1 and 0, where free (L, 2)."""
    point = np.tile([1.0, 0.0], (len(total), 1))
    for _ in range(MAX_STEPS):
        step, decrement = _step(point, present, total, free)
        if (decrement <= TOLERANCE * np.maximum(total.sum(1), 1)).all():
            return point + step
        point = _damped(point, step, present, total)
    return point


def _step(point: Floats, present: Floats, total: Floats, free: Bools) -> tuple[Floats, Floats]:
    """Newton step (L, 2) on the free parameters and its decrement gᵀ H⁻¹ g (L,)."""
    probability = expit(point[:, :1] * CENTRES + point[:, 1:])
    basis = np.stack([CENTRES, np.ones_like(CENTRES)], 1)
    gradient = np.where(free, (total * probability - present) @ basis, 0)
    curvature = total * probability * (1 - probability)
    hessian = np.einsum("lb,bi,bj->lij", curvature, basis, basis)
    both_free = free[:, :, None] & free[:, None, :]
    hessian = np.where(both_free, hessian, 0) + np.eye(2) * (~free[:, :, None] + 1e-12)
    step = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return step, -(step * gradient).sum(1)


def _damped(point: Floats, step: Floats, present: Floats, total: Floats) -> Floats:
    """The step, halved per label until the likelihood does not fall (at most 30 times)."""
    before = _loss(point, present, total)
    for _ in range(30):
        worse = ~(_loss(point + step, present, total) <= before)
        if not worse.any():
            break
        step = np.where(worse[:, None], step / 2, step)
    return point + step


def _loss(point: Floats, present: Floats, total: Floats) -> Floats:
    scores = point[:, :1] * CENTRES + point[:, 1:]
    return np.asarray((total * np.logaddexp(0, scores) - present * scores).sum(1), np.float64)
