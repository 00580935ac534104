"""What a loss is: a mean over known entries, masked, of scores against targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from concilium.labels.statistics import LabelStatistics


class Loss(ABC):
    """A loss. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: a mean over known entries (never a sum: a sum moves the
    usable learning rate 10–30×); exactly zero gradient on unknown entries, whatever stands there;
    0 where nothing is known; permuting labels permutes gradients; finite for scores of ±100; equal
    to plain BCE in the special case that the loss states; once localised there it is still BCE
    unless it gives evidence, which BCE's scores are not.

    ``gives_evidence``: its scores are evidence of each label from the image alone, without what
    its prevalence and the other labels say of it; a label prior turns them into log-odds.
    ``gives_log_odds``, with its settings: they are log-odds of each label where it is as prevalent
    as in the federation, from which a label prior takes that prevalence. The law: where an image
    says nothing, the loss is least at the log-odds of the prevalence. A loss that says neither has
    scores that rank exams until they are calibrated, and no label prior can use them.

    ``compares_labels``: an entry's loss depends on the other labels of its image.
    """

    gives_evidence: ClassVar[bool] = False
    compares_labels: ClassVar[bool] = False

    @property
    def gives_log_odds(self) -> bool:
        """Whether scores are log-odds under the federation's prevalence; no loss need say so."""
        return False

    @abstractmethod
    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar ≥ 0.

        ``logits`` (B, L); ``target`` (B, L) in [0, 1]; ``known`` (B, L) bool; ``label_weight`` (L,)
        ≥ 0 weighs the entries of each label in the mean, and does nothing else: a label of weight
        0 is no more part of the mean than an unknown one, but where a loss compares labels the
        others see it still.
        """

    @classmethod
    @abstractmethod
    def like_bce(cls) -> Loss | None:
        """The settings in which this loss IS plain BCE, or None where there are none."""

    def bind(self, statistics: LabelStatistics) -> Loss:
        """The loss with what it needs from the federation's summed statistics."""
        return self

    def localise(self, target: Tensor, known: Tensor) -> Loss:
        """The loss with what it needs from a client's own training labels, both (N, L).

        It follows ``bind`` and is done anew at each client: what it learns there stays there.
        """
        return self

    def scores(self, logits: Tensor) -> Tensor:
        """Scores (B, L) whose sigmoid is the probability that this loss trained the network for."""
        return logits


def without_unknown(logits: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and target (B, L) with 0 at unknown entries: the first line of a loss.

    What stands at an unknown entry, NaN included, then reaches neither value nor gradient (masking
    the result alone is not enough: zero times a NaN derivative is NaN). The target takes the type
    of the logits.
    """
    return logits.masked_fill(~known, 0.0), target.to(logits.dtype).masked_fill(~known, 0.0)


def entry_weights(values: Tensor, known: Tensor, label_weight: Tensor | None = None) -> Tensor:
    """Weight (B, L) of each entry in a mean: 0 where unknown, else its label's weight (or 1)."""
    weight = known.to(values.dtype)
    return weight if label_weight is None else weight * label_weight


def mean_over_known(values: Tensor, known: Tensor, label_weight: Tensor | None = None) -> Tensor:
    """Mean of values (B, L) over known entries, weighted by label; 0 where nothing is known.

    The values must be finite with finite derivatives everywhere, which ``without_unknown`` sees to.
    """
    weight = entry_weights(values, known, label_weight)
    return (values * weight).sum() / weight.sum().clamp_min(torch.finfo(values.dtype).tiny)


CONTRACT = Loss
