"""Asymmetric loss: L⁺ = (1−p)^γ⁺ log p, L⁻ = p_m^γ⁻ log(1−p_m), p_m = max(p−m, 0).

Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor: Asymmetric Loss for Multi-Label
Classification. ICCV 2021, equations 5-7, arXiv 2009.14119.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from concilium.foundation.checks import fraction, not_negative
from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class Asymmetric(Loss):
    """Asymmetric loss: easy negatives lose their say faster than easy positives.

    ``gamma_negative`` and ``gamma_positive`` ≥ 0 are the focusing exponents; ``margin`` in [0, 1]
    is the probability below which a negative counts nothing. The defaults are those of the authors'
    published code. A soft target y mixes both terms, y and 1 − y. It is a mean over known entries,
    where that code sums, so its learning rate is not theirs. Exponents and margin 0 give BCE.
    """

    gamma_negative: float = 4.0
    gamma_positive: float = 1.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        not_negative(gamma_negative=self.gamma_negative, gamma_positive=self.gamma_positive)
        fraction(margin=self.margin)

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
        shifted = torch.sigmoid(logits) - self.margin
        counts = shifted > 0
        # 1 stands in where nothing counts: a power of 0 may have an infinite derivative.
        base = torch.where(counts, shifted, torch.ones_like(shifted))
        value = -(base**self.gamma_negative) * self._log_one_minus(logits)
        return torch.where(counts, value, torch.zeros_like(value))

    def _log_one_minus(self, logits: Tensor) -> Tensor:
        """log(1 − p + m), exact also where 1 − p rounds to 0."""
        if self.margin == 0:
            return logsigmoid(-logits)
        log_margin = logits.new_full((), math.log(self.margin))
        return torch.logaddexp(logsigmoid(-logits), log_margin)

    @classmethod
    def like_bce(cls) -> Asymmetric:
        return cls(gamma_negative=0.0, gamma_positive=0.0, margin=0.0)
