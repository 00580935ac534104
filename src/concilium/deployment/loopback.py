"""A carrier over hospitals of this process: every letter is bytes, every answer comes by itself.

For the embedded comparison, for thousands of hospitals on one machine, and for tests, which let it
interfere: a hospital fails, is not there, stays silent, answers late, or sends garbage.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Protocol, Self

from concilium.foundation.cores import num_cores
from concilium.orchestration.carriers import Delivery

Fault = Literal["", "failed", "unreachable", "silent", "late", "garbage", "twice"]
"""What happens to a letter; a late answer comes when the hospital gets its next letter."""

Interference = Callable[[str, int], Fault]
"""What happens to a hospital's letter, by its name and how many it had before."""


class Answering(Protocol):
    """Who answers letters and never raises: a ``Site``."""

    def answer(self, letter: bytes) -> bytes:
        """Answer one letter."""
        ...


def undisturbed(hospital: str, number: int) -> Fault:
    """No interference."""
    return ""


class Loopback:
    """The carrier of hospitals by name; a context that ends its threads. Final."""

    def __init__(
        self,
        sites: Mapping[str, Answering],
        interference: Interference = undisturbed,
        workers: int | None = None,
    ) -> None:
        self._sites, self._interference = dict(sorted(sites.items())), interference
        self._letters = dict.fromkeys(self._sites, 0)
        self._held: dict[str, list[Delivery]] = {name: [] for name in self._sites}
        self._come: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(workers or num_cores())

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Names of all, ascending."""
        return tuple(self._sites)

    def send(self, letters: Mapping[str, bytes]) -> None:
        """Give each letter to its hospital; threads answer them."""
        for name, letter in letters.items():
            for held in self._held[name]:
                self._come.put(held)
            self._held[name].clear()
            fault = self._interference(name, self._letters[name])
            self._letters[name] += 1
            if fault in ("failed", "unreachable"):
                self._come.put(Delivery(name, None, fault))
            elif fault == "garbage":
                self._come.put(Delivery(name, letter[::-1]))
            elif fault != "silent":
                self._threads.submit(self._answer, name, letter, fault)

    def collect(self, seconds: float) -> Sequence[Delivery]:
        """What has come, within so many seconds."""
        try:
            found = [self._come.get(timeout=max(0.0, seconds))]
        except queue.Empty:
            return ()
        while not self._come.empty():
            found.append(self._come.get())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _answer(self, name: str, letter: bytes, fault: Fault) -> None:
        try:
            delivery = Delivery(name, self._sites[name].answer(letter))
        except Exception:  # what a site promises never to do
            delivery = Delivery(name, None, "failed")
        if fault == "late":
            self._held[name].append(delivery)
            return
        for _ in range(2 if fault == "twice" else 1):
            self._come.put(delivery)
