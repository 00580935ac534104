"""Focal loss −α_t (1−p_t)^γ log p_t.

Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection. ICCV 2017, equation 5,
arXiv 1708.02002.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from concilium.foundation.checks import fraction, not_negative
from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class Focal(Loss):
    """Focal loss: entries that are already right, with probability p_t, lose their say.

    ``gamma`` ≥ 0 is the focusing exponent; ``alpha`` in [0, 1] weighs positives, 1 − alpha
    negatives (None: both 1). The defaults are the paper's. A soft target y mixes both terms, y and
    1 − y. It is a mean over known entries, where the paper divides by the number of positives, so
    its learning rate is not the paper's. gamma = 0 with alpha = None is BCE.
    """

    gamma: float = 2.0
    alpha: float | None = 0.25

    def __post_init__(self) -> None:
        not_negative(gamma=self.gamma)
        if self.alpha is not None:
            fraction(alpha=self.alpha)

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        positive, negative = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        values = positive * target * self._term(logits)
        values = values + negative * (1 - target) * self._term(-logits)
        return mean_over_known(values, known, label_weight)

    def _term(self, logits: Tensor) -> Tensor:
        """−(1−p)^γ log p with p = σ(z), in logarithms: no power of a rounded zero."""
        return -(self.gamma * logsigmoid(-logits)).exp() * logsigmoid(logits)

    @classmethod
    def like_bce(cls) -> Focal:
        return cls(gamma=0.0, alpha=None)
