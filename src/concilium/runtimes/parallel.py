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

import copy
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.foundation.checks import at_least
from concilium.networks.contract import Network
from concilium.runtimes.contract import Crew, LocalRuntime, Turn
from concilium.runtimes.in_process import OneAfterTheOther

A = TypeVar("A")

AHEAD = 2
"""Turns that may be finished or running beyond those of the workers: what is held in memory."""


@dataclass(frozen=True)
class Parallel(LocalRuntime):
    """``workers`` ≥ 0 threads; 0: as many as this process may use cores, or one on a GPU."""

    workers: int = 0

    def __post_init__(self) -> None:
        at_least(0, workers=self.workers)

    def crew(self, members: Sequence[Client]) -> Crew:
        on_gpu = any(client.device.type != "cpu" for client in members)
        workers = self.workers or (1 if on_gpu else num_cores())
        workers = min(workers, len(members))
        return OneAfterTheOther() if workers <= 1 else SideBySide(workers)


def num_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


Networks = dict[int, tuple[Network, Network]]
"""By the id of a network that clients share: that network, and a worker's own copy of it."""


class SideBySide(Crew):
    """Some worker threads, and the networks that they keep from round to round.

    Threads live as long as a round does: starting them takes a fraction of a millisecond.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._kept: list[Networks] = []
        self._own = _Worker()

    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        stopping = threading.Event()
        used = [self._kept.pop() if self._kept else {} for _ in range(self._workers)]
        free = list(used)

        def begin() -> None:
            torch.set_num_threads(1)
            self._own.stopping = stopping
            self._own.networks = free.pop()

        def take(client: Client, state: ClientState) -> A:
            return turn(replace(client, network=self._network_of(client.network)), state)

        waiting, running = deque(clients), deque[Future[A]]()
        with ThreadPoolExecutor(self._workers, "client", begin) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < self._workers + AHEAD:
                        running.append(pool.submit(take, *waiting.popleft()))
                    yield running.popleft().result()
            finally:  # also after an error, Ctrl-C, or when nobody wants the rest
                stopping.set()
                pool.shutdown(cancel_futures=True)
                self._kept.extend(used)

    def _network_of(self, shared: Network) -> Network:
        """The copy of a network that is this worker's own."""
        networks = self._own.networks
        if id(shared) not in networks:
            network = copy.deepcopy(shared)
            network.encoder.register_forward_pre_hook(self._stop_if_told)
            networks[id(shared)] = shared, network  # kept, so that no other network has its id
        return networks[id(shared)][1]

    def _stop_if_told(self, *_: object) -> None:
        """End a turn at its next step: a thread cannot be ended from outside."""
        if self._own.stopping.is_set():
            raise StoppedError


class _Worker(threading.local):
    """What a worker thread has for itself."""

    networks: Networks
    stopping: threading.Event


class StoppedError(Exception):
    """The turn is not wanted any more. Nobody sees it: its round has ended already."""
