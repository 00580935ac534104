"""What a federated algorithm is: three pure functions of values.

Broadcast            server                    broadcast(server) → what every client gets
    ↓                clients, each alone       client_update(...) → Update, own memory
  total              sum over clients
    ↓                server                    server_update(server, total) → next server
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor

from concilium.federation.client import Labels
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.training.local import GradientTerm, LossTerm, Trained
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting


class LocalWork(Protocol):
    """What an algorithm may do at a client: train. It never sees images, loss or device."""

    @property
    def statistics(self) -> LabelStatistics:
        """The client's own training counts."""

    @property
    def federation(self) -> LabelStatistics:
        """The summed training counts of the federation; the client's own where none were sent."""

    @property
    def optimizer(self) -> OptimizerSettings:
        """The local optimiser, whose learning rate drift corrections divide by."""

    def labels(self) -> Labels:
        """Target (N, L) and known (N, L) of the client's training exams. They stay there."""

    def features(self, model: NamedTensors) -> Tensor:
        """Encoder outputs (N, d) of the client's training exams under a model. They stay there."""

    def scores(self, model: NamedTensors) -> Tensor:
        """Scores (N, L) of the client's training exams under a model. They stay there."""

    def train(
        self,
        model: NamedTensors,
        *,
        gradient_term: GradientTerm | None = None,
        loss_term: LossTerm | None = None,
        labels: Labels | None = None,
        pace: float = 1.0,
    ) -> tuple[NamedTensors, Trained]:
        """The model after local training, and what was done.

        ``gradient_term`` is added to the gradients of each step, ``loss_term`` to its loss;
        ``labels`` (target and known of all training exams) stand in for the client's own; steps are
        ``pace`` > 0 times as long as the learning rate says.
        """


class Algorithm(ABC):
    """A federated algorithm. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: the server needs the total only; neither the order of
    clients nor that of their replies matters, and permuting labels permutes the model; a client
    without a known entry harms nothing; any part of the clients may take part in a round; what
    clients and server remember survives a checkpoint, and the next round is then the same, bit for
    bit; weights may differ from row to row.
    """

    def check(self, optimizer: OptimizerSettings) -> None:  # noqa: B027 - most hold for all
        """Raise InputError where the algorithm's equations do not hold for a local optimiser."""

    def broadcast(self, server: ServerState) -> Broadcast:
        """What every client of the next round gets: by default the model."""
        return Broadcast(server.round, server.model, label_statistics=server.label_statistics)

    @abstractmethod
    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        """One client's update and its memory for the next round it takes part in."""

    @abstractmethod
    def server_update(self, server: ServerState, total: Update) -> ServerState:
        """The server after the total of the cohort's updates."""


CONTRACT = Algorithm
