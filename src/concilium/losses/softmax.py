"""The classic baseline: exclusive classes, softmax cross-entropy on the most prominent finding.

What a single-label classifier does with multi-label radiographs: an image shows one finding, or
none. It is here to be measured against; every second finding of an image is lost to it.

Sends: nothing of its own; the order comes with the federation's summed label statistics.
Costs: no bytes and no forward pass.
Secure sum: yes, the federation's counts are a total.
Differential privacy: yes, where every image has a known label: a mean of per-image losses. Else a
batch is divided by its own number of such images, in whose place DP-SGD must put a fixed number.
The counts are released without noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from concilium.foundation.checks import not_negative
from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss, entry_weights, without_unknown


@dataclass(frozen=True)
class Softmax(Loss):
    """Cross-entropy over L labels and "no finding" (logit 0), exclusive of each other.

    The class of an image is its most prominent present label (known, target > ½), or no finding.
    ``order`` lists label indices from most to least prominent; empty, it becomes the labels by
    falling federated prevalence when bound to statistics, and label order before that. A label that
    is unknown in an image is no class there: it leaves that image's softmax.

    A mean over images with a known label; with ``label_weight`` an image weighs as its class, no
    finding as the mean of the image's known labels. With one label it is BCE; there are no settings
    in which it is BCE for more.
    """

    compares_labels: ClassVar[bool] = True

    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        not_negative(**{f"order[{i}]": label for i, label in enumerate(self.order)})
        if len(set(self.order)) != len(self.order):
            raise InputError(f"order={self.order!r} names a label twice; list each index once")

    def bind(self, statistics: LabelStatistics) -> Softmax:
        """With the order of falling federated prevalence, unless an order was set."""
        if self.order:
            return self
        prevalence = np.nan_to_num(statistics.prevalence, nan=-1.0)  # never known: last
        order = np.argsort(-prevalence, kind="stable")
        return replace(self, order=tuple(int(label) for label in order))

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        chosen = self._class(target)
        # A logit far below all others takes an unknown label out; −∞ would leave NaN derivatives.
        exclusive = pad(logits.masked_fill(~known, _OUT), (0, 1))
        loss = -exclusive.log_softmax(1).gather(1, chosen[:, None])[:, 0]
        weight = _image_weight(entry_weights(logits, known, label_weight), known, chosen)
        return (loss * weight).sum() / weight.sum().clamp_min(torch.finfo(loss.dtype).tiny)

    def _class(self, target: Tensor) -> Tensor:
        """Class (B,) of each image: the index of a label, or L for no finding."""
        num_labels = target.shape[1]
        order = self.order or tuple(range(num_labels))
        if sorted(order) != list(range(num_labels)):
            raise InputError(f"order={order!r} must list each label 0 to {num_labels - 1} once")
        ranked = torch.tensor(order, device=target.device)
        present = (target > 0.5)[:, ranked]
        first = ranked[present.to(torch.uint8).argmax(1)]
        return torch.where(present.any(1), first, num_labels)

    def scores(self, logits: Tensor) -> Tensor:
        """Log-odds (B, L) of each class: z_l − log(1 + Σ_{m≠l} exp z_m)."""
        num_labels = logits.shape[1]
        own = torch.eye(num_labels, dtype=torch.bool, device=logits.device)
        others = logits[:, None, :].masked_fill(own, -torch.inf)
        return logits - pad(others, (0, 1)).logsumexp(2)

    @classmethod
    def like_bce(cls) -> None:
        return None


# exp(−1e4) is 0 in float32 and float64, also beside logits of −100.
_OUT = -1.0e4


def _image_weight(weight: Tensor, known: Tensor, chosen: Tensor) -> Tensor:
    """Weight (B,) of each image: its class's, or for no finding the mean of its known labels'."""
    no_finding = weight.sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp_min(1)
    return torch.cat([weight, no_finding], 1).gather(1, chosen[:, None])[:, 0]
