"""What carries messages to hospitals elsewhere: any engine that sends bytes and brings bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from concilium.foundation.checks import at_least, positive

Failure = Literal["", "failed", "unreachable"]
"""What a carrier knows of a message that brought nothing: its receiver failed, or is not there."""


@dataclass(frozen=True)
class Delivery:
    """What came of one letter: bytes from a hospital, or how it failed.

    A name that is not the carrier's to vouch for is checked by who opens the letter, who also holds
    ``data`` for broken until it is read.
    """

    hospital: str
    data: bytes | None = None
    failure: Failure = ""


class Carrier(Protocol):
    """Brings letters to hospitals and answers back. It knows nothing of what they mean."""

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Names of all that belong to the federation, ascending, there or not."""
        ...

    def send(self, letters: Mapping[str, bytes]) -> None:
        """Send a letter to each of these hospitals; does not wait."""
        ...

    def collect(self, seconds: float) -> Sequence[Delivery]:
        """What has come, as soon as anything has, and after so many seconds at the latest."""
        ...


@dataclass(frozen=True)
class Terms:
    """How long an exchange waits, and for how many.

    ``deadline`` in seconds > 0, from when a question is sent; ``quorum`` ≥ 1 answers that make an
    exchange worth while (a round that asks fewer hospitals needs all of them); ``retries`` ≥ 0 is
    how often a hospital whose letter failed is asked again, ``pause`` seconds > 0 later.

    ``grace`` in seconds > 0 is how long one that stayed away in the last exchange is waited for in
    the next: a dead hospital costs one deadline, not one an exchange. As soon as anything comes
    from it, however late, it is waited for as the others are.
    """

    deadline: float = 600.0
    quorum: int = 2
    retries: int = 1
    grace: float = 10.0
    pause: float = 5.0

    def __post_init__(self) -> None:
        positive(deadline=self.deadline, grace=self.grace, pause=self.pause)
        at_least(1, quorum=self.quorum)
        at_least(0, retries=self.retries)
