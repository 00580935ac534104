"""Focal loss −α_t (1−p_t)^γ log p_t.

Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection. ICCV 2017, equation 5,
arXiv 1708.02002.

The paper names inverse class frequency as a choice of α (section 3.1). The federated form takes it
up, label by label: α_l = N⁻_l / (N⁺_l + N⁻_l), with the federation's counts, so that a label's
positives and negatives have equal say before focusing.

Sends: nothing of its own; counts come with the federation's summed label statistics.
Costs: no bytes and no forward pass.
Secure sum: yes, the federation's counts are a total.
Differential privacy: yes, where every label is known: a mean of per-image losses. With unknown
labels a batch is divided by its own number of known entries, in whose place DP-SGD must put a fixed
number. The counts are released without noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.functional import logsigmoid

from concilium.foundation.checks import fraction, not_negative
from concilium.labels.statistics import LabelStatistics
from concilium.losses._per_label import PerLabel, floats, per_label, smoothed_prevalence
from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class Focal(Loss):
    """Focal loss: entries that are already right, with probability p_t, lose their say.

    ``gamma`` ≥ 0 is the focusing exponent; ``alpha`` in [0, 1] weighs positives, 1 − alpha
    negatives (None: both 1). The defaults are the paper's. A soft target y mixes both terms, y and
    1 − y. It is a mean over known entries, where the paper divides by the number of positives, so
    its learning rate is not the paper's. gamma = 0 with alpha = None is BCE.

    With ``federated`` each label has an α of its own from the federation's counts (half a case is
    added to each), kept in ``alphas`` (L,) when bound; alpha holds before. They may also be set.
    """

    gamma: float = 2.0
    alpha: float | None = 0.25
    federated: bool = False
    alphas: PerLabel = ()

    def __post_init__(self) -> None:
        not_negative(gamma=self.gamma)
        if self.alpha is not None:
            fraction(alpha=self.alpha)
        fraction(**{f"alphas[{i}]": alpha for i, alpha in enumerate(self.alphas)})

    def bind(self, statistics: LabelStatistics) -> Focal:
        """With an α for each label, where the federated form is wanted and none were set."""
        if self.alphas or not self.federated:
            return self
        return replace(self, alphas=floats(1 - smoothed_prevalence(statistics)))

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        positive, negative = self._sides(logits)
        values = positive * target * self._term(logits)
        values = values + negative * (1 - target) * self._term(-logits)
        return mean_over_known(values, known, label_weight)

    def _sides(self, logits: Tensor) -> tuple[float | Tensor, float | Tensor]:
        """Weights of positives and of negatives: numbers, or one for each label (L,)."""
        if self.alphas:
            alpha = per_label("alphas", self.alphas, logits)
            return alpha, 1 - alpha
        return (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)

    def _term(self, logits: Tensor) -> Tensor:
        """−(1−p)^γ log p with p = σ(z), in logarithms: no power of a rounded zero."""
        return -(self.gamma * logsigmoid(-logits)).exp() * logsigmoid(logits)

    @classmethod
    def like_bce(cls) -> Focal:
        return cls(gamma=0.0, alpha=None)
