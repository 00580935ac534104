"""What a run tells while it goes on. Printing, progress bars and logs live in observers only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]  # one line of the history: plain numbers, strings and lists


@dataclass(frozen=True)
class PhaseStarted:
    """A phase begins: statistics, rounds, consolidation, calibration or evaluation."""

    phase: str


@dataclass(frozen=True)
class RoundFinished:
    """A round is committed: its record, and how many rounds there will be."""

    record: Record
    num_rounds: int


@dataclass(frozen=True)
class Resumed:
    """A run continues after ``round`` rounds."""

    round: int


@dataclass(frozen=True)
class Warned:
    """Something that a person should read; the run goes on."""

    text: str


Event = PhaseStarted | RoundFinished | Resumed | Warned
Observer = Callable[[Event], None]


def silent(event: Event) -> None:
    """The observer that tells nobody."""
