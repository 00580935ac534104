"""Asymmetric loss: L⁺ = (1−p)^γ⁺ log p, L⁻ = p_m^γ⁻ log(1−p_m), p_m = max(p−m, 0).

Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor: Asymmetric Loss for Multi-Label
Classification. ICCV 2021, equations 5-7, arXiv 2009.14119.

One γ⁻ and one m serve all labels there, set on COCO, where 2.9 of 80 labels are present in an
image. The federated form is ours: label l gets the share s_l of that asymmetry which its imbalance
in the federation, on a logarithmic scale, is of COCO's 27 negatives a positive:

    γ⁻_l = γ⁺ + s_l (γ⁻ − γ⁺),  m_l = s_l m,  s_l = log(N⁻_l/N⁺_l) / log 27, cut to [0, 1].

Equal counts give the symmetric loss (γ⁺ on both sides, no margin), 27 and more the plain one.

Sends: nothing of its own; counts come with the federation's summed label statistics.
Costs: no bytes and no forward pass.
Secure sum: yes, the federation's counts are a total.
Differential privacy: yes, where every label is known: a mean of per-image losses. With unknown
labels a batch is divided by its own number of known entries, in whose place DP-SGD must put a fixed
number. The counts are released without noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from concilium.foundation.checks import fraction, not_negative
from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics
from concilium.losses._per_label import PerLabel, floats, per_label, smoothed_prevalence
from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class Asymmetric(Loss):
    """Asymmetric loss: easy negatives lose their say faster than easy positives.

    ``gamma_negative`` and ``gamma_positive`` ≥ 0 are the focusing exponents; ``margin`` in [0, 1]
    is the probability below which a negative counts nothing. The defaults are those of the authors'
    published code. A soft target y mixes both terms, y and 1 − y. It is a mean over known entries,
    where that code sums, so its learning rate is not theirs. Exponents and margin 0 give BCE.

    With ``federated`` each label has its share s_l of the asymmetry, in [0, 1], from the
    federation's counts (half a case is added to each), kept in ``shares`` (L,) when bound; it is 1
    before. ``full_ratio`` > 1 is the negatives a positive at which it is 1. They may also be set.
    """

    gamma_negative: float = 4.0
    gamma_positive: float = 1.0
    margin: float = 0.05
    federated: bool = False
    full_ratio: float = 27.0
    shares: PerLabel = ()

    def __post_init__(self) -> None:
        not_negative(gamma_negative=self.gamma_negative, gamma_positive=self.gamma_positive)
        fraction(margin=self.margin)
        if not 1 < self.full_ratio < math.inf:
            raise InputError(f"full_ratio={self.full_ratio!r} must be > 1")
        fraction(**{f"shares[{i}]": share for i, share in enumerate(self.shares)})

    def bind(self, statistics: LabelStatistics) -> Asymmetric:
        """With a share for each label, where the federated form is wanted and none were set."""
        if self.shares or not self.federated:
            return self
        prevalence = smoothed_prevalence(statistics)
        imbalance = np.log((1 - prevalence) / prevalence) / math.log(self.full_ratio)
        return replace(self, shares=floats(imbalance.clip(0, 1)))

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        values = target * self._positive(logits) + (1 - target) * self._negative(logits)
        return mean_over_known(values, known, label_weight)

    def _positive(self, logits: Tensor) -> Tensor:
        """−(1−p)^γ⁺ log p, in logarithms."""
        return -(self.gamma_positive * logsigmoid(-logits)).exp() * logsigmoid(logits)

    def _negative(self, logits: Tensor) -> Tensor:
        """−p_m^γ⁻ log(1−p_m); 0, with gradient 0, where p ≤ m."""
        share = per_label("shares", self.shares, logits) if self.shares else logits.new_ones(())
        margin = share * self.margin
        gamma = self.gamma_positive + share * (self.gamma_negative - self.gamma_positive)
        shifted = torch.sigmoid(logits) - margin
        counts = shifted > 0
        # 1 stands in where nothing counts: a power of 0 may have an infinite derivative.
        base = torch.where(counts, shifted, torch.ones_like(shifted))
        # log(1 − p + m), exact also where 1 − p rounds to 0.
        log_one_minus = torch.logaddexp(logsigmoid(-logits), margin.log())
        return torch.where(counts, -(base**gamma) * log_one_minus, torch.zeros_like(base))

    @classmethod
    def like_bce(cls) -> Asymmetric:
        return cls(gamma_negative=0.0, gamma_positive=0.0, margin=0.0)
