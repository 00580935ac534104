"""What a runtime is: it carries a broadcast or a request to clients and brings answers back.

A choice of this folder says how the clients of ONE machine are run: by whose hands, how many at
once. What they compute depends on their names, the seed and the broadcast alone, so no choice but
``stacked``, which rounds otherwise, changes a bit of any result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from concilium.algorithms.contract import Algorithm
from concilium.compressions.contract import Compression
from concilium.federation.client import Client
from concilium.federation.messages import Broadcast, Update
from concilium.federation.requests import Request
from concilium.federation.states import ClientState
from concilium.foundation.cores import num_cores
from concilium.runtimes._turns import Answering, Training
from concilium.weightings.contract import Weighting

A = TypeVar("A")

Turn = Callable[[Client, ClientState], A]
"""What one client does, given what it remembers. It can be pickled."""


class Runtime(ABC):
    """Carries questions and answers. It knows nothing of what they mean."""

    @property
    @abstractmethod
    def clients(self) -> tuple[str, ...]:
        """Names of all clients, in a fixed order."""

    @abstractmethod
    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        """The updates of a cohort, each yielded as soon as it is there and then forgotten."""

    @abstractmethod
    def ask(self, request: Request[A], cohort: Sequence[str]) -> Iterator[tuple[str, A]]:
        """The answers of a cohort to a request, one at a time."""

    @property
    @abstractmethod
    def client_states(self) -> Mapping[str, ClientState]:
        """What clients that run here remember, for a checkpoint; empty where they run elsewhere."""

    @abstractmethod
    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Give clients that run here their memory back."""

    # What follows is so where clients run here: they are always there, and nothing is sent.

    def recall(self, history: Sequence[Mapping[str, Any]]) -> None:  # noqa: B027 - see above
        """Learn from the records of earlier rounds whose updates were counted."""

    def together(self, work: Callable[[], A]) -> A:
        """What some work gives in all of whose exchanges the same clients take part.

        Where one of them does not answer any more, the work is begun anew without it.
        """
        return work()

    @property
    def left_out(self) -> Mapping[str, str]:
        """Who was asked in the last exchange and is not in it, each with the reason."""
        return {}

    def bytes_down(self, broadcast: Broadcast, cohort: Sequence[str]) -> int:
        """Bytes that the last broadcast took to its cohort."""
        return len(cohort) * broadcast.num_bytes()


class Crew(ABC):
    """Those who let the clients of this machine take their turns."""

    @abstractmethod
    def take_turns(
        self, turn: Turn[A], clients: Sequence[tuple[Client, ClientState]]
    ) -> Iterator[A]:
        """What each turn gives, in the order of the clients; a few of them are held at a time."""


class LocalRuntime(ABC):
    """How the clients of one machine are run. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: the model after some rounds is that of ``in_process``
    (bit for bit, or as near as the choice says), with every algorithm, with clients of unequal
    sizes, and whatever part of them takes part; so are the answers to requests and what clients
    remember; a turn that fails ends the round with its error; few updates are held at a time.
    """

    exact: ClassVar[bool] = True
    """Whether results are those of ``in_process`` bit for bit."""

    @abstractmethod
    def crew(self, members: Sequence[Client], cores: int) -> Crew:
        """Who runs these clients, on so many cores where the settings do not say it.

        Raises InputError for clients that cannot be run in this way.
        """

    def over(
        self,
        members: Sequence[Client],
        algorithm: Algorithm,
        weighting: Weighting,
        compression: Compression | None = None,
        cores: int | None = None,
    ) -> Simulation:
        """The runtime of these clients on so many cores (None: all that this process may use).

        Raises InputError where the algorithm's equations do not hold for a client's optimiser.
        """
        for client in members:
            algorithm.check(client.training.optimizer)
        crew = self.crew(members, num_cores() if cores is None else cores)
        return Simulation(tuple(members), algorithm, weighting, crew, compression)


@dataclass(frozen=True)
class Simulation(Runtime):
    """Clients of this machine, their algorithm, weighting and compression; it keeps their memory.

    Final: what differs between runtimes is the crew.
    """

    members: tuple[Client, ...]
    algorithm: Algorithm
    weighting: Weighting
    crew: Crew
    compression: Compression | None = None
    _states: dict[str, ClientState] = field(default_factory=dict)

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(client.name for client in self.members)

    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        """The updates of a cohort, in its order; what each client remembers is kept here."""
        turn = Training(broadcast, self.algorithm, self.weighting, self.compression)
        turns = self.crew.take_turns(turn, self._cohort(cohort))
        for name in cohort:
            update, state = next(turns)
            if state.extras or state.private or state.residual:
                self._states[name] = state
            yield name, update
            del update

    def ask(self, request: Request[A], cohort: Sequence[str]) -> Iterator[tuple[str, A]]:
        """The answers of a cohort, in its order."""
        answers = self.crew.take_turns(Answering(request), self._cohort(cohort))
        for name in cohort:
            yield name, next(answers)

    @property
    def client_states(self) -> Mapping[str, ClientState]:
        """What members remember: those that remember anything."""
        return dict(self._states)

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Give members their memory back; what they remember now is forgotten."""
        self._states.clear()
        self._states.update(states)

    def _cohort(self, cohort: Sequence[str]) -> list[tuple[Client, ClientState]]:
        """The clients with the private tensors that they remember, and all else they do."""
        by_name = {client.name: client for client in self.members}
        return [self._as_it_is_now(by_name[name]) for name in cohort]

    def _as_it_is_now(self, client: Client) -> tuple[Client, ClientState]:
        state = self._states.get(client.name)
        if state is None:
            return client, ClientState()
        return replace(client, private=state.private), state


CONTRACT = LocalRuntime
