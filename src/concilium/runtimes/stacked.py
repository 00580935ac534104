"""Clients stacked: the steps of many taken together, by batched products. For features only.

A step of a small network on features is mostly overhead, which stacking pays once for all clients:
several times faster than one after the other (``benchmarks/speed/features.py``). For convolutions
on a CPU it is slower than threads, so images are refused.

Each client's turn runs in a thread of its own up to the point where it wants to train; when all of
them are there, one thread takes the steps of all (``training/stacked.py``), and they go on. So any
algorithm works as it is. A term of the loss sees single clients: with one (MOON, FedHarmony),
clients train by themselves. Batched products round otherwise than single ones, so results differ
from those of ``in_process`` in the last bits, and from those of another ``size``.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np
import torch

from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.foundation.checks import at_least
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.runtimes._turns import Training
from concilium.runtimes.contract import Crew, LocalRuntime, Turn
from concilium.runtimes.parallel import num_cores
from concilium.training.local import GradientTerm, LocalTraining, LossTerm, Trained, train
from concilium.training.stacked import Task, train_together

A = TypeVar("A")


@dataclass(frozen=True)
class Stacked(LocalRuntime):
    """``size`` ≥ 1: how many clients are stacked at a time, which bounds the memory; they are dealt
    out to ``workers`` ≥ 0 threads with a stack each (0: as many as this process may use cores, or
    one on a GPU).
    """

    size: int = 32
    workers: int = 0

    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(1, size=self.size)
        at_least(0, workers=self.workers)

    def crew(self, members: Sequence[Client]) -> Crew:
        """Raises InputError for clients that train on images."""
        for client in members:
            if "train" in client.parts and client.parts["train"].images.dtype == np.uint8:
                what = "stacked clients pay for features only, and these have images"
                remedy = 'set runtime = "parallel" in [training]'
                raise InputError(Problem("training.runtime", what, remedy))
        on_gpu = any(client.device.type != "cpu" for client in members)
        return InStacks(self.size, self.workers or (1 if on_gpu else num_cores()))


class InStacks(Crew):
    """Stacks of clients, one after the other; each place in a stack keeps a network of its own."""

    def __init__(self, size: int, workers: int) -> None:
        self._size, self._workers = size, workers
        self._networks: dict[tuple[int, int], tuple[Network, Network]] = {}

    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        size = self._size if isinstance(turn, Training) else 1
        for start in range(0, len(clients), size):
            stack = clients[start : start + size]
            yield from self._together(turn, stack) if size > 1 else (turn(*stack[0]),)

    def _together(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        meeting = Meeting(len(clients), self._workers)

        def take(place: int, client: Client, state: ClientState) -> A:
            torch.set_num_threads(1)
            try:
                network = self._network_of(place, client.network)
                return turn(replace(client, network=network, trainer=meeting.train), state)
            finally:
                meeting.leave()

        with ThreadPoolExecutor(len(clients), "client") as pool:
            try:
                futures = [pool.submit(take, k, *client) for k, client in enumerate(clients)]
                meeting.hold()
            finally:
                meeting.close()
        while futures:
            yield futures.pop(0).result()

    def _network_of(self, place: int, shared: Network) -> Network:
        key = place, id(shared)
        if key not in self._networks:
            self._networks[key] = shared, copy.deepcopy(shared)  # both, so that no other has its id
        return self._networks[key][1]


@dataclass
class _Wish:
    """A client that waits for its training."""

    task: Task
    trained: Trained | None = None
    error: BaseException | None = None


@dataclass
class Meeting:
    """Where clients wait for each other to train together; ``present`` have not left yet."""

    present: int
    workers: int
    _waiting: list[_Wish] = field(default_factory=list)
    _closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def train(
        self,
        network: Network,
        exams: Exams,
        loss: Loss,
        settings: LocalTraining,
        generator: torch.Generator,
        gradient_term: GradientTerm | None,
        loss_term: LossTerm | None,
        private: NamedTensors,
    ) -> Trained:
        """A client's ``Trainer``: ``training.local.train``, together with all who wait."""
        if loss_term is not None:
            return train(
                network, exams, loss, settings, generator, gradient_term, loss_term, private
            )
        wish = _Wish(Task(network, exams, loss, settings, generator, gradient_term))
        with self._changed:
            self._waiting.append(wish)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or self._answered(wish))
        if wish.trained is None:
            raise wish.error or MeetingClosedError
        return wish.trained

    def leave(self) -> None:
        """A client's turn has ended."""
        with self._changed:
            self.present -= 1
            self._changed.notify_all()

    def hold(self) -> None:
        """Train those who wait whenever all who are present do, until all have left."""
        one_operator_thread = partial(torch.set_num_threads, 1)
        with ThreadPoolExecutor(self.workers, "stack", one_operator_thread) as pool:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._waiting) == self.present)
                    if not self.present:
                        return
                    wishes, self._waiting = self._waiting, []
                list(pool.map(_fulfil, dealt(wishes, self.workers)))
                with self._changed:
                    self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @staticmethod
    def _answered(wish: _Wish) -> bool:
        return wish.trained is not None or wish.error is not None


class MeetingClosedError(Exception):
    """The round has ended early. Nobody sees it: what ended the round is raised instead."""


def dealt(wishes: Sequence[_Wish], workers: int) -> list[list[_Wish]]:
    """Those who train in the same way, dealt out to workers by the number of their exams."""
    alike: dict[LocalTraining, list[_Wish]] = {}
    for wish in sorted(wishes, key=lambda wish: len(wish.task.exams)):
        alike.setdefault(wish.task.settings, []).append(wish)
    stacks = [own[place::workers] for own in alike.values() for place in range(workers)]
    return [stack for stack in stacks if stack]


def _fulfil(wishes: Sequence[_Wish]) -> None:
    """Train them together."""
    try:
        trained = train_together([wish.task for wish in wishes])
    except Exception as error:  # raised again in the turns that it ends
        for wish in wishes:
            wish.error = error
    else:
        for wish, done in zip(wishes, trained, strict=True):
            wish.trained = done
