"""Clients side by side in worker threads, each with one operator thread and one network of its own.

torch works outside the interpreter's lock, so threads are enough for networks whose steps take more
than about a millisecond, and they share images, model and caches without a copy. Each worker uses
one network for all its clients and copies a model into it: building one a client costs more than
training a small one. One operator thread a worker: several, where cores are shared, wait for each
other (measured: thirty times slower beside one busy neighbour).

A client's own generator, one operator thread and sums in the order of the cohort make the result
that of ``in_process``, bit for bit, whatever the number of workers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.foundation.checks import at_least
from concilium.networks.contract import Network
from concilium.runtimes._workers import Copies, StoppedError, in_order
from concilium.runtimes.contract import Crew, LocalRuntime, Turn
from concilium.runtimes.in_process import OneAfterTheOther

A = TypeVar("A")


@dataclass(frozen=True)
class Parallel(LocalRuntime):
    """``workers`` ≥ 0 threads; 0: as many as there are cores, but one on a GPU, and for features,
    where threads wait for the interpreter's lock: two take 1.1 to 1.5 times as long as one.
    """

    workers: int = 0

    def __post_init__(self) -> None:
        at_least(0, workers=self.workers)

    def crew(self, members: Sequence[Client], cores: int) -> Crew:
        gains = all(client.device.type == "cpu" and client.sees_images for client in members)
        workers = min(self.workers or (cores if gains else 1), len(members))
        return OneAfterTheOther() if workers <= 1 else SideBySide(workers)


class SideBySide(Crew):
    """Some worker threads, and the networks that they keep from round to round.

    Threads live as long as a round does: starting them takes a fraction of a millisecond.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._kept: list[Copies] = []
        self._own = _Worker()

    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        stopping = threading.Event()
        kept = [self._kept.pop() for _ in range(min(self._workers, len(self._kept)))]
        used = kept + [Copies(self._let_stop) for _ in range(self._workers - len(kept))]
        free = list(used)

        def begin() -> None:
            torch.set_num_threads(1)
            self._own.stopping = stopping
            self._own.networks = free.pop()

        def take(client: Client, state: ClientState) -> A:
            return turn(replace(client, network=self._own.networks.of(client.network)), state)

        with ThreadPoolExecutor(self._workers, "client", begin) as pool:
            try:
                yield from in_order(pool, take, clients, self._workers)
            finally:  # also after an error, Ctrl-C, or when nobody wants the rest
                stopping.set()
                pool.shutdown(cancel_futures=True)
                self._kept.extend(used)

    def _let_stop(self, network: Network) -> None:
        network.encoder.register_forward_pre_hook(self._stop_if_told)

    def _stop_if_told(self, *_: object) -> None:
        """End a turn at its next step: a thread cannot be ended from outside."""
        if self._own.stopping.is_set():
            raise StoppedError


class _Worker(threading.local):
    """What a worker thread has for itself."""

    networks: Copies
    stopping: threading.Event
