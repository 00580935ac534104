"""What one client does when it is its turn: train on a broadcast, or answer a request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from concilium.algorithms.contract import Algorithm
from concilium.compressions.contract import Compression, Encoded
from concilium.federation.client import Client, Labels
from concilium.federation.messages import Broadcast, Update
from concilium.federation.requests import Request
from concilium.federation.states import ClientState
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss
from concilium.training.local import GradientTerm, LossTerm, Trained
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting

A = TypeVar("A")


@dataclass(frozen=True)
class Training:
    """A client's turn in a round: its update as the server gets it, and its memory afterwards."""

    broadcast: Broadcast
    algorithm: Algorithm
    weighting: Weighting
    compression: Compression | None

    def __call__(self, client: Client, state: ClientState) -> tuple[Update, ClientState]:
        sent, after = self.sent(client, state)
        if isinstance(sent, Update):
            return sent, after
        assert self.compression is not None
        return self.compression.decode(sent), after

    def sent(self, client: Client, state: ClientState) -> tuple[Update | Encoded, ClientState]:
        """The update as it travels, where a compression makes it smaller in its form."""
        work = ClientWork.of(client, self.broadcast)
        update, after = self.algorithm.client_update(self.broadcast, state, work, self.weighting)
        after = replace(after, private=work.private)
        if self.compression is None:
            return update, after
        encoded, residual = self.compression.encode(update, state.residual)
        return encoded, replace(after, residual=residual)


@dataclass(frozen=True)
class Answering(Generic[A]):
    """A client's turn when it is asked something."""

    request: Request[A]

    def __call__(self, client: Client, state: ClientState) -> A:
        return self.request.answer(client)


@dataclass
class ClientWork:
    """One client's work in one round: the ``LocalWork`` that an algorithm sees.

    ``private`` is what stays at home, as the last training left it; ``optimizer`` is that of this
    round.
    """

    client: Client
    round: int
    loss: Loss
    statistics: LabelStatistics
    federation: LabelStatistics
    private: NamedTensors
    optimizer: OptimizerSettings

    @staticmethod
    def of(client: Client, broadcast: Broadcast) -> ClientWork:
        """A client's work on a broadcast; its loss knows the federation's counts and its own."""
        own = client.statistics()
        loss = client.loss_under(broadcast.label_statistics)
        federation = own if broadcast.label_statistics is None else broadcast.label_statistics
        optimizer = client.training.optimizer.paced(broadcast.pace)
        return ClientWork(client, broadcast.round, loss, own, federation, client.private, optimizer)

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
        pace: float = 1.0,
    ) -> tuple[NamedTensors, Trained]:
        trained, self.private, done = self._at(pace).train(
            model, self.round, self.loss, gradient_term, loss_term, labels
        )
        return trained, done

    def _at(self, pace: float) -> Client:
        """The client with so many times this round's learning rate."""
        training = replace(self.client.training, optimizer=self.optimizer.paced(pace))
        return replace(self.client, training=training)

    def _as_it_is_now(self) -> Client:
        """The client with what its last training left at home."""
        return replace(self.client, private=self.private)
