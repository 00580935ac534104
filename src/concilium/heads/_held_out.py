"""The penalty of an exact head, chosen by the summed loss of the validation parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.foundation.checks import at_least, positive
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._standardisation import Scale, labels_of
from concilium.heads.contract import Ask

EntryLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Loss (N, A) ≥ 0 of every entry from score, target and known (N, A); 0 at an unknown one.

A frozen dataclass, as it is part of a question.
"""


@dataclass(frozen=True)
class HeldOutRequest(Request[Tensor]):
    """What is the loss (S, A) of several solutions (S, A, d+1) on the validation parts?"""

    model: NamedTensors
    scale: Scale
    solutions: Tensor
    labels: tuple[int, ...]
    loss: EntryLoss

    def answer(self, client: Client) -> Tensor:
        design = self.scale.design(torch.from_numpy(client.features(self.model, "validation")))
        target, known = (part[:, list(self.labels)] for part in labels_of(client, "validation"))
        losses = [self.loss(design @ own.T, target, known).sum(0) for own in self.solutions]
        return torch.stack(losses)


def choose(
    ask: Ask,
    model: NamedTensors,
    scale: Scale,
    solutions: Tensor,
    labels: tuple[int, ...],
    loss: EntryLoss,
) -> tuple[int, list[float]]:
    """Index of the solution (of S) with the least loss summed over labels, and those losses.

    The middle one, and no losses, where no validation exam has a known label.
    """
    if len(solutions) == 1:
        return 0, []
    held_out = ask(HeldOutRequest(model, scale, solutions, labels, loss)).sum(1)
    if not bool(held_out.any()):
        return len(solutions) // 2, []
    return int(held_out.argmin()), held_out.tolist()


def check_penalties(penalties: tuple[float, ...]) -> None:
    """Raise InputError unless there is a penalty to choose, and each is > 0."""
    at_least(1, penalties=len(penalties))
    for penalty in penalties:
        positive(penalty=penalty)
