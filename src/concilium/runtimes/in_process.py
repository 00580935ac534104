"""All clients in this process, one after the other: the reference for every other runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.runtimes.contract import Crew, LocalRuntime, Turn

A = TypeVar("A")


@dataclass(frozen=True)
class InProcess(LocalRuntime):
    """No settings."""

    def crew(self, members: Sequence[Client], cores: int) -> Crew:
        return OneAfterTheOther()


class OneAfterTheOther(Crew):
    """All clients in the thread that asks."""

    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        return (turn(client, state) for client, state in clients)
