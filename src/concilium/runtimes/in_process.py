"""All clients in this process, one after the other: the reference for every other runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from concilium.algorithms.contract import Algorithm
from concilium.federation.client import Client
from concilium.federation.messages import Broadcast, Update
from concilium.federation.requests import Request
from concilium.federation.states import ClientState
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss
from concilium.runtimes.contract import Runtime
from concilium.training.local import GradientTerm, Trained
from concilium.weightings.contract import Weighting

A = TypeVar("A")


@dataclass(frozen=True)
class ClientWork:
    """One client's work in one round: the ``LocalWork`` that an algorithm sees."""

    client: Client
    round: int
    loss: Loss
    statistics: LabelStatistics

    @property
    def learning_rate(self) -> float:
        return self.client.training.optimizer.learning_rate

    def train(
        self, model: NamedTensors, gradient_term: GradientTerm | None = None
    ) -> tuple[NamedTensors, Trained]:
        return self.client.train(model, self.round, self.loss, gradient_term)


@dataclass(frozen=True)
class InProcess(Runtime):
    """Clients of this process, their algorithm and weighting, and what they remember."""

    members: tuple[Client, ...]
    algorithm: Algorithm
    weighting: Weighting
    _states: dict[str, ClientState] = field(default_factory=dict)

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(client.name for client in self.members)

    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        for client in self._cohort(cohort):
            loss = client.loss
            if broadcast.label_statistics is not None:
                loss = loss.bind(broadcast.label_statistics)
            work = ClientWork(client, broadcast.round, loss, client.statistics())
            state = self._states.get(client.name, ClientState())
            update, state = self.algorithm.client_update(broadcast, state, work, self.weighting)
            if state.extras:
                self._states[client.name] = state
            yield client.name, update

    def ask(self, request: Request[A], cohort: Sequence[str]) -> Iterator[tuple[str, A]]:
        for client in self._cohort(cohort):
            yield client.name, request.answer(client)

    @property
    def client_states(self) -> Mapping[str, ClientState]:
        return dict(self._states)

    def restore(self, states: Mapping[str, ClientState]) -> None:
        self._states.clear()
        self._states.update(states)

    def _cohort(self, cohort: Sequence[str]) -> list[Client]:
        by_name = {client.name: client for client in self.members}
        return [by_name[name] for name in cohort]
