"""Local optimisers by name. Their state lives for one local training and is never kept or sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from concilium.foundation.checks import fraction, not_negative, one_of, positive

NAMES = ("sgd", "adam", "adamw")


@dataclass(frozen=True)
class OptimizerSettings:
    """``momentum`` is SGD's; Adam's betas are torch's defaults."""

    name: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        one_of(NAMES, optimizer=self.name)
        positive(learning_rate=self.learning_rate)
        not_negative(weight_decay=self.weight_decay)
        fraction(momentum=self.momentum)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser for these parameters."""
        parameters = list(parameters)
        rate, decay = self.learning_rate, self.weight_decay
        if self.name == "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=self.momentum, weight_decay=decay)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return kind(parameters, lr=rate, weight_decay=decay)
