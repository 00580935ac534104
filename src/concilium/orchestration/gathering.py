"""One exchange: letters go out, answers come in until all are there or time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from concilium.foundation.errors import DoorError
from concilium.orchestration.carriers import Carrier, Delivery, Terms
from concilium.orchestration.letters import Letters, StaleError

Clock = Callable[[], float]
"""Seconds since some moment; it never goes back."""

MOST_DROPPED = 100
"""Letters that nobody waited for, of one exchange, which are listed."""


@dataclass
class Gathering:
    """The answers to one question, from those that give one in time.

    ``look`` gives the value in a hospital's letter, and raises DoorError or StaleError.
    ``suspects`` stayed away last time: they get the grace and no second letter. ``forgiven`` were
    ``late`` before and have not answered since. Afterwards ``answered`` are those whose answer
    counts, ``left_out`` the others by name, with a code and a sentence; ``heard`` are those of them
    whose letter was no answer that can be added up; ``late`` are those whose letter answered
    another question, for which they are waited for as others are, once; ``dropped`` says which
    letters were not looked at, and why, of the first ``MOST_DROPPED``.
    """

    carrier: Carrier
    terms: Terms
    clock: Clock
    letters: Letters
    look: Callable[[str, bytes], Any]
    suspects: frozenset[str] = frozenset()
    forgiven: frozenset[str] = frozenset()
    answered: list[str] = field(default_factory=list)
    left_out: dict[str, tuple[str, str]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    bytes_up: int = 0
    _stale: set[str] = field(default_factory=set)
    _tried: dict[str, int] = field(default_factory=dict)
    _again: dict[str, float] = field(default_factory=dict)
    """When a hospital whose letter failed is written to again."""

    def answers(self) -> Iterator[tuple[str, Any]]:
        """Each answer as it comes, once. Ends after the deadline at the latest."""
        if not self.letters:
            return
        started, open_ = self.clock(), set(self.letters)
        self.carrier.send(self.letters)
        while open_:
            now = self.clock()
            left = started + self._patience(open_) - now
            wait = max(0.0, min([left, *(due - now for due in self._again.values())]))
            for delivery in self.carrier.collect(wait):
                value = self._opened(delivery, open_)
                if value is not None:
                    yield delivery.hospital, value[0]
                    del value
            if left <= 0:
                break
            self._write_again(open_)
        for name in sorted(open_):
            self.left_out[name] = self._silent(name)

    def _patience(self, open_: set[str]) -> float:
        """How long from the beginning those that are still out are waited for."""
        if open_ <= self.suspects - self.late:
            return min(self.terms.grace, self.terms.deadline)
        return self.terms.deadline

    def _opened(self, delivery: Delivery, open_: set[str]) -> tuple[Any] | None:
        """The value of a delivery that counts; of the others it is noted what became of them."""
        name = delivery.hospital
        if name not in self.carrier.hospitals:
            self._drop("stranger: a letter from nobody of the federation")
            return None
        self.bytes_up += len(delivery.data or b"")
        if name not in open_:
            why = "twice" if name in self.answered else "late"
            self._drop(f"{why}: a letter of {name} that nobody waits for")
            return None
        if delivery.data is None:
            self._note_failure(name, delivery.failure or "failed", open_)
            return None
        try:
            value = self.look(name, delivery.data)
        except StaleError:
            self._stale.add(name)
            self._drop(f"stale: {name} answers another question")
            self.late |= {name} - self.forgiven
            return None
        except DoorError as error:
            self.heard.add(name)
            self._leave_out(name, error.code, error.reason, open_)
            return None
        open_.remove(name)
        self._again.pop(name, None)
        self.answered.append(name)
        return (value,)

    def _note_failure(self, name: str, failure: str, open_: set[str]) -> None:
        tries = self._tried[name] = self._tried.get(name, 0) + 1
        if tries <= self.terms.retries and name not in self.suspects:
            self._again[name] = self.clock() + self.terms.pause
            return
        what = {
            "failed": "what runs there ended without an answer",
            "unreachable": "nobody answers there",
        }[failure]
        self._leave_out(name, failure, what, open_)

    def _write_again(self, open_: set[str]) -> None:
        now = self.clock()
        due = [name for name, when in self._again.items() if when <= now and name in open_]
        for name in due:
            del self._again[name]
        if due:
            self.carrier.send(self.letters.only(due))

    def _leave_out(self, name: str, code: str, reason: str, open_: set[str]) -> None:
        open_.remove(name)
        self._again.pop(name, None)
        self.left_out[name] = code, reason

    def withdraw(self, names: Mapping[str, tuple[str, str]]) -> None:
        """Leave out some whose answers came, each with a code and a sentence."""
        self.answered = [name for name in self.answered if name not in names]
        self.left_out.update(names)

    def _drop(self, why: str) -> None:
        """Note a letter that is not looked at; of a flood, only that it was one."""
        if len(self.dropped) < MOST_DROPPED:
            self.dropped.append(why)
        elif len(self.dropped) == MOST_DROPPED:
            self.dropped.append("more: further letters are not listed")

    def _silent(self, name: str) -> tuple[str, str]:
        if name in self._again:
            return "failed", "its letter failed, and time was up before it was asked again"
        if name in self._stale:
            return "stale", "it answered another question, not this one"
        waited = self._patience({name})
        return "silent", f"nothing came within {waited:g} s"
