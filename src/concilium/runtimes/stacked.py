"""Clients stacked: the steps of many taken together, by batched products. For features only.

A step of a small network on features is mostly overhead, which stacking pays once for all clients
(``benchmarks/speed/features.py``). Convolutions gain nothing by it on a CPU, so images are refused.

Each client's turn runs in a thread of its own, one of them at a time, up to the point where it
wants to train. When all are there, their steps are taken together (``training/stacked.py``), and
they go on; so every algorithm works as it is. A term of the loss sees one client's step: with one
(MOON, FedHarmony), clients train by themselves. Batched products round otherwise than single ones,
so results differ from those of ``in_process`` in the last bits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from concilium.federation.client import Client
from concilium.federation.states import ClientState
from concilium.foundation.checks import at_least
from concilium.foundation.errors import InputError, Problem
from concilium.networks.contract import Network
from concilium.runtimes._turns import Training
from concilium.runtimes._workers import Copies, StoppedError
from concilium.runtimes.contract import Crew, LocalRuntime, Turn
from concilium.runtimes.in_process import OneAfterTheOther
from concilium.training._stack import can_be_stacked
from concilium.training.local import Step, Task, Trained, mean_of, train_alone
from concilium.training.stacked import train_together

A = TypeVar("A")


@dataclass(frozen=True)
class Stacked(LocalRuntime):
    """``size`` ≥ 1 clients are in memory at a time, dealt out to ``workers`` ≥ 1 threads with a
    stack each. Both have a say in rounding, so neither follows the machine's number of cores.
    """

    size: int = 32
    workers: int = 2

    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(1, size=self.size)
        at_least(1, workers=self.workers)

    def crew(self, members: Sequence[Client], cores: int) -> Crew:
        """Raises InputError for images, and for a network whose layers cannot be stacked."""
        for client in members:
            if client.sees_images:
                raise _refused("stacked clients pay for features only, and these have images")
        for network in {id(client.network): client.network for client in members}.values():
            if not can_be_stacked(network):
                raise _refused("a layer of this network gives other scores when it is stacked")
        return InStacks(self.size, self.workers)


def _refused(what: str) -> InputError:
    return InputError(Problem("training.runtime", what, 'set runtime = "parallel" in [training]'))


class InStacks(Crew):
    """So many clients together, then the next; the networks of their places are kept."""

    def __init__(self, size: int, workers: int) -> None:
        self._size, self._workers = size, workers
        self._kept: list[list[Copies]] = []

    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        if not _trains(turn):
            yield from OneAfterTheOther().take_turns(turn, clients)
            return
        networks = self._kept.pop() if self._kept else [Copies() for _ in range(self._size)]
        try:
            for start in range(0, len(clients), self._size):
                yield from self._together(turn, clients[start : start + self._size], networks)
        finally:  # nobody asks once more after the last update
            self._kept.append(networks)

    def _together(
        self,
        turn: Turn[A],
        clients: Sequence[tuple[Client, ClientState]],
        networks: Sequence[Copies],
    ) -> Iterator[A]:
        players = [
            Player(turn, client, state, own.of(client.network))
            for own, (client, state) in zip(networks, clients, strict=False)
        ]
        stopping = threading.Event()
        with ThreadPoolExecutor(self._workers, "stack", partial(torch.set_num_threads, 1)) as pool:
            try:
                yield from _play(players, Stacks(pool, self._workers, stopping))
            finally:  # also after an error, Ctrl-C, or when nobody wants the rest
                stopping.set()
                for player in players:
                    player.leave()


def _trains(turn: object) -> bool:
    return isinstance(turn, Training)


def _play(players: Sequence[Player[A]], stacks: Stacks) -> Iterator[A]:
    """What each turn gives, in order, each as soon as it and those before it have ended."""
    left = deque(players)
    going = dict.fromkeys(players, _nothing)
    while going:
        for player, outcome in going.items():
            player.go_on(outcome)
            while left and left[0].ended:
                yield left.popleft().result()
        going = stacks.train([player for player in left if not player.ended])


Outcome = Callable[[], Trained]
"""Waits for what a training did, or raises its error."""


def _nothing() -> Trained:
    return Trained(0, float("nan"))


class Player(Generic[A]):
    """A client's turn, in a thread that runs only while ``go_on`` waits for it.

    ``wish`` is the training that it waits for, until it has ``ended``.
    """

    def __init__(self, turn: Turn[A], client: Client, state: ClientState, network: Network) -> None:
        self.shared = client.network
        self.wish: Task | None = None
        self.ended = False
        self._take = partial(turn, replace(client, network=network, trainer=self._train), state)
        self._found: list[A] = []
        self._error: BaseException | None = None
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._wishes: SimpleQueue[Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)

    def go_on(self, outcome: Outcome) -> None:
        """Let it run, with the training that it waited for, until it wants another or has ended."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._outcomes.put(outcome)
        self.wish = self._wishes.get()
        self.ended = self.wish is None

    def result(self) -> A:
        """What its turn gave, once; or raises its error."""
        if self._error is not None:
            raise self._error
        return self._found.pop()

    def leave(self) -> None:
        """End its turn, wherever it is."""
        if self._thread.ident is not None:
            self._outcomes.put(_stop)
            self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(1)
        try:
            self._found.append(self._take())
        except BaseException as error:  # raised again where its result is wanted
            self._error = error
        finally:
            self._wishes.put(None)

    def _train(self, task: Task) -> Trained:
        """The client's ``Trainer``."""
        self._wishes.put(task)
        return self._outcomes.get()()


def _stop() -> Trained:
    raise StoppedError


@dataclass(frozen=True)
class Stacks:
    """Threads that train what players wish, each a stack of them, until it is time to stop."""

    pool: ThreadPoolExecutor
    workers: int
    stopping: threading.Event

    def train(self, players: Sequence[Player[A]]) -> dict[Player[A], Outcome]:
        """Begin the trainings of all; by player, in order, what will give its outcome."""
        outcomes: dict[Player[A], Outcome] = {}
        alike: dict[object, list[Player[A]]] = {}
        for player in players:
            task = _wish_of(player)
            if task.loss_term is None:
                alike.setdefault((task.settings, id(player.shared)), []).append(player)
            else:
                outcomes[player] = self.pool.submit(train_alone, self._alone(task)).result
        for stack in dealt(list(alike.values()), self.workers):
            tasks = [_wish_of(player) for player in stack]
            done = self.pool.submit(train_together, tasks, self._stop_if_told)
            for place, player in enumerate(stack):
                outcomes[player] = partial(_one_of, done.result, place)
        return {player: outcomes[player] for player in players}

    def _alone(self, task: Task) -> Task:
        """A training with a term of the loss, which can be stopped at each step."""
        term = task.loss_term
        assert term is not None

        def own(step: Step) -> Tensor:
            self._stop_if_told()
            return term(step)

        return task._replace(loss_term=own)

    def _stop_if_told(self) -> None:
        if self.stopping.is_set():
            raise StoppedError


def _wish_of(player: Player[Any]) -> Task:
    assert player.wish is not None
    return player.wish


def _one_of(losses: Callable[[], list[list[Tensor]]], place: int) -> Trained:
    own = losses()[place]
    return Trained(len(own), mean_of(own))


def dealt(alike: Sequence[Sequence[Player[A]]], workers: int) -> list[Sequence[Player[A]]]:
    """Stacks of those who train alike, a worker each, with much the same number of exams."""
    stacks: list[Sequence[Player[A]]] = []
    for players in alike:
        by_size = sorted(players, key=lambda player: -len(_wish_of(player).exams))
        stacks += [by_size[worker::workers] for worker in range(min(workers, len(by_size)))]
    return stacks
