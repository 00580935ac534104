"""Local optimisers by name. Their state lives for one local training and is never kept or sent.

The arithmetic is torch's own, by the functions that the classes ``torch.optim.SGD``, ``Adam`` and
``AdamW`` call, too: the same bits. The classes themselves import torch's compiler as soon as one of
them is built, which costs every process 1 to 2 seconds and 70 MB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from concilium.foundation.checks import fraction, not_negative, one_of, positive

NAMES = ("sgd", "adam", "adamw")

Parameters = list[Tensor]


class Optimizer(ABC):
    """Steps of some parameters against their gradients; one without a gradient stays."""

    def __init__(self, parameters: Iterable[Tensor], settings: OptimizerSettings) -> None:
        self._parameters = tuple(parameters)
        self._settings = settings

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters in place."""
        moving: Parameters = [own for own in self._parameters if own.grad is not None]
        if moving:
            self._move(moving, [own.grad for own in moving if own.grad is not None])

    def of_first(self, count: int, parameters: Sequence[Tensor]) -> Optimizer:
        """The optimiser of the first rows of its parameters, given anew, with its memory of them.

        This one must not be used any more: the memory is the same.
        """
        other = self._settings.build(parameters)
        for own, new in zip(self._parameters, parameters, strict=True):
            self._hand_over(own, new, count, other)
        return other

    @abstractmethod
    def _move(self, parameters: Parameters, gradients: list[Tensor]) -> None:
        """Move the parameters, all of which have a gradient."""

    @abstractmethod
    def _hand_over(self, own: Tensor, new: Tensor, count: int, other: Any) -> None:
        """Give another optimiser of this kind what is known of a parameter's first rows."""


class SGD(Optimizer):
    """θ ← θ − η·v, v ← μ·v + g + λ·θ (the first v is g + λ·θ). Final."""

    def __init__(self, parameters: Iterable[Tensor], settings: OptimizerSettings) -> None:
        super().__init__(parameters, settings)
        self._velocity: dict[Tensor, Tensor | None] = {}

    def _move(self, parameters: Parameters, gradients: list[Tensor]) -> None:
        velocity = [self._velocity.get(own) for own in parameters]
        sgd(
            parameters,
            gradients,
            velocity,
            lr=self._settings.learning_rate,
            momentum=self._settings.momentum,
            weight_decay=self._settings.weight_decay,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        self._velocity.update(zip(parameters, velocity, strict=True))

    def _hand_over(self, own: Tensor, new: Tensor, count: int, other: Any) -> None:
        velocity = self._velocity.get(own)
        other._velocity[new] = None if velocity is None else velocity[:count]


class Adam(Optimizer):
    """Adam, or AdamW whose weights decay by themselves; β₁, β₂, ε are torch's defaults. Final."""

    def __init__(self, parameters: Iterable[Tensor], settings: OptimizerSettings) -> None:
        super().__init__(parameters, settings)
        self._moments: dict[Tensor, tuple[Tensor, Tensor, Tensor]] = {}

    def _move(self, parameters: Parameters, gradients: list[Tensor]) -> None:
        for own in parameters:
            if own not in self._moments:
                self._moments[own] = _at_start(own)
        first, second, steps = zip(*(self._moments[own] for own in parameters), strict=True)
        move = adamw if self._settings.name == "adamw" else adam
        move(
            parameters,
            gradients,
            list(first),
            list(second),
            [],
            list(steps),
            lr=self._settings.learning_rate,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=self._settings.weight_decay,
            amsgrad=False,
            maximize=False,
        )

    def _hand_over(self, own: Tensor, new: Tensor, count: int, other: Any) -> None:
        if own in self._moments:
            first, second, steps = self._moments[own]
            other._moments[new] = first[:count], second[:count], steps


def _at_start(parameter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Adam's moments and number of steps before the first; the number is read on the CPU."""
    return (
        torch.zeros_like(parameter),
        torch.zeros_like(parameter),
        torch.zeros((), device="cpu"),
    )


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

    def paced(self, pace: float) -> OptimizerSettings:
        """The same with ``pace`` > 0 times the learning rate."""
        return replace(self, learning_rate=pace * self.learning_rate)

    def build(self, parameters: Iterable[Tensor]) -> Optimizer:
        """A fresh optimiser for these parameters."""
        return SGD(parameters, self) if self.name == "sgd" else Adam(parameters, self)
