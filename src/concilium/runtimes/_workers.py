"""What runtimes with workers share: turns in order, few at a time, and networks of one's own."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.networks.contract import Network

A = TypeVar("A")

AHEAD = 2
"""Turns that may be finished or running beyond those of the workers: what is held in memory."""


class StoppedError(Exception):
    """The turn is not wanted any more. Nobody sees it: its round has ended already."""


def in_order(
    pool: ThreadPoolExecutor,
    take: Callable[[Client, ClientState], A],
    clients: Sequence[tuple[Client, ClientState]],
    workers: int,
) -> Iterator[A]:
    """What the threads of a pool take from clients, in the order of the clients.

    At most ``workers`` + ``AHEAD`` clients are begun and not yet asked for.
    """
    waiting, running = deque(clients), deque[Future[A]]()
    while waiting or running:
        while waiting and len(running) < workers + AHEAD:
            running.append(pool.submit(take, *waiting.popleft()))
        yield running.popleft().result()


class Copies:
    """One worker's own copies of the networks that clients share; ``prepare`` sees each new one."""

    def __init__(self, prepare: Callable[[Network], object] = lambda network: None) -> None:
        self._prepare = prepare
        self._made: dict[int, tuple[Network, Network]] = {}

    def of(self, shared: Network) -> Network:
        """The copy of a network: the same one each time."""
        if id(shared) not in self._made:
            own = copy.deepcopy(shared)
            self._prepare(own)
            self._made[id(shared)] = shared, own  # both, so that no other network has its id
        return self._made[id(shared)][1]
