"""What a head is: a linear layer solved exactly from sums over hospitals, the body frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from concilium.federation.requests import Request
from concilium.foundation.named_tensors import NamedTensors

A = TypeVar("A")


class Ask(Protocol):
    """Asks every client and gives the total of the answers."""

    def __call__(self, request: Request[A]) -> A:
        """The total of every client's answer."""
        ...


@dataclass(frozen=True)
class Solved:
    """The model with its new head, and numbers about the solution for the report."""

    model: NamedTensors
    report: Mapping[str, float | list[float] | list[str]] = field(default_factory=dict)


class Head(ABC):
    """An exact head. A frozen dataclass; its fields are its settings."""

    @abstractmethod
    def solve(self, ask: Ask, model: NamedTensors) -> Solved:
        """The model with its head solved: ``head.weight`` (L, d) and ``head.bias`` (L,).

        The answer equals that of one hospital that holds all exams, to rounding.
        """


CONTRACT = Head
