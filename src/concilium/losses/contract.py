"""What a loss is: a mean over known entries, masked, of scores against targets."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from concilium.labels.statistics import LabelStatistics


class Loss(ABC):
    """A loss. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: a mean over known entries (never a sum: a sum moves the
    usable learning rate 10–30×); exactly zero gradient on unknown entries, whatever stands there;
    0 where nothing is known; permuting labels permutes gradients; finite for scores of ±100; equal
    to plain BCE in the special case that the loss states.
    """

    @abstractmethod
    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar ≥ 0.

        ``logits`` (B, L); ``target`` (B, L) in [0, 1]; ``known`` (B, L) bool; ``label_weight`` (L,)
        ≥ 0 weighs the entries of each label in the mean.
        """

    @classmethod
    @abstractmethod
    def like_bce(cls) -> Loss | None:
        """The settings in which this loss IS plain BCE, or None where there are none."""

    def bind(self, statistics: LabelStatistics) -> Loss:
        """The loss with what it needs from the federation's summed statistics."""
        return self

    def scores(self, logits: Tensor) -> Tensor:
        """Scores (B, L) whose sigmoid is the probability that this loss trained the network for."""
        return logits


def mean_over_known(values: Tensor, known: Tensor, label_weight: Tensor | None = None) -> Tensor:
    """Mean of values (B, L) over known entries, weighted by label; 0 where nothing is known.

    Unknown entries get exactly zero gradient, even where their value is NaN or infinite.
    """
    weight = known.to(values.dtype)
    if label_weight is not None:
        weight = weight * label_weight
    kept = torch.where(known, values, torch.zeros_like(values))
    return (kept * weight).sum() / weight.sum().clamp_min(torch.finfo(values.dtype).tiny)


CONTRACT = Loss
