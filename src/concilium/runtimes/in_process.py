"""All clients in this process, one after the other: the reference for every other runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from concilium.algorithms.contract import Algorithm
from concilium.federation.client import Client, Labels
from concilium.federation.messages import Broadcast, Update
from concilium.federation.requests import Request
from concilium.federation.states import ClientState
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss
from concilium.runtimes.contract import Runtime
from concilium.training.local import GradientTerm, LossTerm, Trained
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting

A = TypeVar("A")


@dataclass
class ClientWork:
    """One client's work in one round: the ``LocalWork`` that an algorithm sees.

    ``private`` is what stays at home, as the last training left it.
    """

    client: Client
    round: int
    loss: Loss
    statistics: LabelStatistics
    federation: LabelStatistics
    private: NamedTensors

    @staticmethod
    def of(client: Client, broadcast: Broadcast) -> ClientWork:
        """A client's work on a broadcast; its loss knows the federation's counts and its own."""
        loss, own = client.loss, client.statistics()
        if broadcast.label_statistics is not None:
            loss = loss.bind(broadcast.label_statistics)
        loss = loss.localise(*client.labels())
        federation = own if broadcast.label_statistics is None else broadcast.label_statistics
        return ClientWork(client, broadcast.round, loss, own, federation, client.private)

    @property
    def optimizer(self) -> OptimizerSettings:
        return self.client.training.optimizer

    def labels(self) -> Labels:
        return self.client.labels()

    def features(self, model: NamedTensors) -> Tensor:
        return torch.from_numpy(self._as_it_is_now().features(model, "train"))

    def scores(self, model: NamedTensors) -> Tensor:
        return torch.from_numpy(self._as_it_is_now().scores(model, "train"))

    def train(
        self,
        model: NamedTensors,
        *,
        gradient_term: GradientTerm | None = None,
        loss_term: LossTerm | None = None,
        labels: Labels | None = None,
    ) -> tuple[NamedTensors, Trained]:
        trained, self.private, done = self.client.train(
            model, self.round, self.loss, gradient_term, loss_term, labels
        )
        return trained, done

    def _as_it_is_now(self) -> Client:
        """The client with what its last training left at home."""
        return replace(self.client, private=self.private)


@dataclass(frozen=True)
class InProcess(Runtime):
    """Clients of this process, their algorithm and weighting, and what they remember.

    Raises InputError where the algorithm's equations do not hold for a client's optimiser.
    """

    members: tuple[Client, ...]
    algorithm: Algorithm
    weighting: Weighting
    _states: dict[str, ClientState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for client in self.members:
            self.algorithm.check(client.training.optimizer)

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(client.name for client in self.members)

    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        for client in self._cohort(cohort):
            work = ClientWork.of(client, broadcast)
            state = self._states.get(client.name, ClientState())
            update, state = self.algorithm.client_update(broadcast, state, work, self.weighting)
            state = replace(state, private=work.private)
            if state.extras or state.private:
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
        return [self._as_it_is_now(by_name[name]) for name in cohort]

    def _as_it_is_now(self, client: Client) -> Client:
        """The client with the private tensors that it remembers."""
        state = self._states.get(client.name)
        return client if state is None else replace(client, private=state.private)
