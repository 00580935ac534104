"""How the phases ask: every client of a runtime, its answers added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from concilium.federation.messages import total
from concilium.federation.requests import Request
from concilium.heads.contract import Ask
from concilium.runtimes.contract import Runtime

A = TypeVar("A")


@dataclass(frozen=True)
class Asking(Ask):
    """Asks every client of a runtime, and adds up the answers of those who give one."""

    runtime: Runtime

    def __call__(self, request: Request[A]) -> A:
        """The total of the answers."""
        answers = self.runtime.ask(request, self.runtime.clients)
        return total(answers, self.runtime.clients)  # type: ignore[type-var]


def together(ask: Ask, work: Callable[[], A]) -> A:
    """What some work gives in all of whose exchanges the same clients take part.

    It is begun anew, without a client that does not answer any more: so it must change nothing.
    """
    return ask.runtime.together(work) if isinstance(ask, Asking) else work()
