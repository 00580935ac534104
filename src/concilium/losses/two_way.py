"""Two-way loss: softplus(T_n log Σ⁻ e^{z/T_n} + T_p log Σ⁺ e^{−z/T_p}), per image and per label.

Kobayashi: "Two-Way Multi-Label Loss", CVPR 2023 (no arXiv number). Within an image, the hardest
absent label is compared with the hardest present one; within a label, the hardest image without it
with the hardest image with it. Each direction is a mean over the images, or labels, that have a
positive; the loss is their sum. With one present label and T = 1 the first is the softmax
cross-entropy. Checked against published implementations of the author's TwoWayLoss, not against the
printed equations, which could not be seen.

Ours differs: unknown entries are in no sum. The sum over the images of a batch grows with the batch
(twice the same batch has another loss, and another margin); by default it is the mean,
log-mean-exp, so that hospitals of unequal batches ask for the same margin. ``class_mean = false``
is the author's form. Scores are good for ranking only: they are not log-odds before calibration.

Sends: nothing of its own.
Costs: no bytes and no forward pass.
Secure sum: yes, nothing is added to what the algorithm sends.
Differential privacy: no, images of a batch are compared, so no image has a loss of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.foundation.checks import positive
from concilium.losses.contract import Loss, entry_weights, without_unknown


@dataclass(frozen=True)
class TwoWay(Loss):
    """Present above absent: among the labels of an image, and among the images of a label.

    ``temperature_positive`` and ``temperature_negative`` > 0 are T_p and T_n: the lower, the more
    the hardest entry alone counts. The defaults are the author's. A target above ½ is present.

    An image without a present label teaches in the direction of labels only, and a batch without
    any teaches nothing. With ``label_weight`` a label weighs as itself, an image as the mean of its
    present labels. There are no settings in which it is BCE.
    """

    compares_labels: ClassVar[bool] = True

    temperature_positive: float = 4.0
    temperature_negative: float = 1.0
    class_mean: bool = True

    def __post_init__(self) -> None:
        positive(
            temperature_positive=self.temperature_positive,
            temperature_negative=self.temperature_negative,
        )

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        present = target > 0.5
        absent = known & ~present
        weight = entry_weights(logits, present, label_weight)
        of_label = self._hardest(logits, present, absent, 0, mean=self.class_mean)
        of_image = self._hardest(logits, present, absent, 1, mean=False)
        return _weighted_mean(of_label, _mean_of(weight, present, 0)) + _weighted_mean(
            of_image, _mean_of(weight, present, 1)
        )

    def _hardest(
        self, logits: Tensor, present: Tensor, absent: Tensor, dim: int, *, mean: bool
    ) -> Tensor:
        """Compute softplus of the hardest absent less the hardest present score in a dimension."""
        above = _soft_maximum(logits, absent, self.temperature_negative, dim, mean=mean)
        below = _soft_maximum(-logits, present, self.temperature_positive, dim, mean=mean)
        return softplus(above + below)

    @classmethod
    def like_bce(cls) -> None:
        return None


def _soft_maximum(
    scores: Tensor, among: Tensor, temperature: float, dim: int, *, mean: bool
) -> Tensor:
    """T log Σ e^{s/T}, or T log of the mean, over the entries among which to look.

    Where there are none it is so low that the loss and its gradient are 0.
    """
    # Lower than all scores at any temperature: e to it is 0. −∞ would leave NaN derivatives.
    out = torch.finfo(scores.dtype).min
    largest = (scores / temperature).masked_fill(~among, out).logsumexp(dim)
    if mean:
        largest = largest - among.sum(dim).clamp_min(1).to(scores.dtype).log()
    return temperature * largest


def _mean_of(weight: Tensor, present: Tensor, dim: int) -> Tensor:
    """Mean weight of the present entries along a dimension, 0 where there are none."""
    return weight.sum(dim) / present.sum(dim).clamp_min(1)


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(torch.finfo(values.dtype).tiny)
