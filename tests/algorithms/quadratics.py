"""Clients whose loss is a quadratic: every gradient, minimum and fixed point is known exactly.

A client is the ``LocalWork`` that an algorithm sees, so an algorithm's own equations are driven,
without images, network or loss. It takes steps of SGD, as torch takes them, on

    f_k(w) = Σ_i ½ curvature_i (w_i − optimum_i)².
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from concilium.algorithms.contract import Algorithm
from concilium.federation.client import Labels
from concilium.federation.messages import Broadcast, Update, total
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.training.local import GradientTerm, LossTerm, Trained
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from concilium.weightings.contract import Weighting

SGD = OptimizerSettings("sgd", 0.1)


@dataclass(frozen=True)
class Quadratic:
    """One client: curvature and optimum (d,), local steps, images (its weight by images)."""

    curvature: Sequence[float]
    optimum: Sequence[float]
    steps: int = 1
    optimizer: OptimizerSettings = SGD
    num_images: int = 1

    @property
    def statistics(self) -> LabelStatistics:
        counts = np.full((1, 1), self.num_images, np.int64)
        return LabelStatistics(self.num_images, self.num_images, counts, counts, counts)

    @property
    def federation(self) -> LabelStatistics:
        return self.statistics

    def labels(self) -> Labels:
        raise NotImplementedError("a quadratic has no labels")

    def features(self, model: NamedTensors) -> Tensor:
        raise NotImplementedError("a quadratic has no features")

    def scores(self, model: NamedTensors) -> Tensor:
        raise NotImplementedError("a quadratic has no scores")

    def gradient(self, at: Tensor) -> Tensor:
        return torch.tensor(self.curvature) * (at - torch.tensor(self.optimum))

    def train(
        self,
        model: NamedTensors,
        *,
        gradient_term: GradientTerm | None = None,
        loss_term: LossTerm | None = None,
        labels: Labels | None = None,
        pace: float = 1.0,
    ) -> tuple[NamedTensors, Trained]:
        if loss_term is not None or labels is not None:
            raise NotImplementedError("a quadratic has neither features nor labels")
        curvature, optimum = torch.tensor(self.curvature), torch.tensor(self.optimum)
        rate, momentum, decay = _plain(self.optimizer)
        rate *= pace
        place, velocity = model["w"], torch.zeros_like(optimum)
        for _ in range(self.steps):
            gradient = curvature * (place - optimum) + decay * place
            if gradient_term is not None:
                gradient = gradient + gradient_term({"w": place})["w"]
            velocity = momentum * velocity + gradient
            place = place - rate * velocity
        first_loss = float((curvature / 2 * (model["w"] - optimum) ** 2).sum())
        done = Trained(self.steps, first_loss if self.steps else float("nan"))
        return NamedTensors({"w": place}), done


def _plain(optimizer: OptimizerSettings) -> tuple[float, float, float]:
    if optimizer.name != "sgd":
        raise NotImplementedError("a quadratic is trained by SGD")
    return optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay


@dataclass
class Run:
    """A federation of quadratic clients: the server now, and what each client remembers."""

    algorithm: Algorithm
    clients: Sequence[Quadratic]
    weighting: Weighting = field(default_factory=ByImages)
    start: Sequence[float] = (0.0,)
    states: dict[int, ClientState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model = NamedTensors({"w": torch.tensor(self.start)})
        self.server = ServerState(0, model, len(self.clients))

    @property
    def model(self) -> Tensor:
        return self.server.model["w"]

    def round(self, cohort: Sequence[int] | None = None) -> Update:
        """One round of a cohort (all, if not given); the total that the server got."""
        cohort = range(len(self.clients)) if cohort is None else cohort
        broadcast = self.algorithm.broadcast(self.server)
        summed = total([(str(k), self.answer(k, broadcast)) for k in cohort], [*map(str, cohort)])
        self.server = self.algorithm.server_update(self.server, summed)
        return summed

    def answer(self, client: int, broadcast: Broadcast) -> Update:
        """One client's update; it remembers what it must."""
        update, self.states[client] = self.algorithm.client_update(
            broadcast,
            self.states.get(client, ClientState()),
            self.clients[client],
            self.weighting,
        )
        return update

    def rounds(self, number: int, cohorts: Sequence[Sequence[int]] | None = None) -> Tensor:
        """The model after some rounds; the cohorts are taken in turn."""
        for turn in range(number):
            self.round(None if cohorts is None else cohorts[turn % len(cohorts)])
        return self.model


def minimum(clients: Sequence[Quadratic], weights: Sequence[float] | None = None) -> Tensor:
    """Where Σ weight_k f_k is smallest (d,); equal weights, if not given."""
    weights = [1.0] * len(clients) if weights is None else weights
    curvature = [w * torch.tensor(c.curvature) for w, c in zip(weights, clients, strict=True)]
    pulls = [c * torch.tensor(k.optimum) for c, k in zip(curvature, clients, strict=True)]
    return torch.stack(pulls).sum(0) / torch.stack(curvature).sum(0)


def apart(left: Tensor, right: Tensor) -> float:
    """The largest difference between two models."""
    return float((left - right).abs().max())


FAST = OptimizerSettings("sgd", 0.3)
FLAT_AND_STEEP = (
    Quadratic((0.2,), (-4.0,), steps=10, optimizer=FAST),
    Quadratic((2.0,), (4.0,), steps=10, optimizer=FAST),
)
"""Two clients that drift apart: together their minimum is (0.2·(−4) + 2·4) / 2.2 = 3.27.

Ten steps take the flat one 46 % of its way and the steep one all of it, so plain averaging ends at
(0.46·(−4) + 4) / 1.46 = 1.48.
"""
