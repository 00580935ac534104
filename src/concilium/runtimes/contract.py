"""What a runtime is: it carries a broadcast or a request to clients and brings answers back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from concilium.federation.messages import Broadcast, Update
from concilium.federation.requests import Request
from concilium.federation.states import ClientState

A = TypeVar("A")


class Runtime(ABC):
    """Carries questions and answers. It knows nothing of what they mean."""

    @property
    @abstractmethod
    def clients(self) -> tuple[str, ...]:
        """Names of all clients, in a fixed order."""

    @abstractmethod
    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        """The updates of a cohort, each yielded as soon as it is there and then forgotten."""

    @abstractmethod
    def ask(self, request: Request[A], cohort: Sequence[str]) -> Iterator[tuple[str, A]]:
        """The answers of a cohort to a request, one at a time."""

    @property
    @abstractmethod
    def client_states(self) -> Mapping[str, ClientState]:
        """What clients that run here remember, for a checkpoint; empty where they run elsewhere."""

    @abstractmethod
    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Give clients that run here their memory back."""


CONTRACT = Runtime
