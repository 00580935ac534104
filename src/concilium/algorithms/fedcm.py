"""Momentum that all clients share: w ← w − η (α g_k(w) + (1 − α) Δ), Δ the last round's direction.

Xu, Wang, Wang, Yao: "FedCM: Federated Learning with Client-level Momentum", 2021, Algorithm 1
(arXiv 2106.10874). The server sends its model x and Δ, the mean direction of the last round's local
steps, at first 0. With τ steps at each client,

    Δ⁺ = Σ a_k (x − w_k) / Σ a_k τ_k η,    x⁺ = x + η_g · Σ a_k (w_k − x) / Σ a_k.

So momentum outlives a round: of few local steps, each follows mostly what all hospitals found
together, where local momentum would begin anew and a server's acts only after drift has happened.
Clients remember nothing, so any of them may take part in a round.

With α = 1 it is FedAvg, bit for bit, and good learning rates are about FedAvg's for every α. Ours
differs in means: the weights a_k of the study stand in the place of plain means, and hospitals may
take unequal numbers of steps τ_k (equal ones, and equal weights, are the paper's). What nobody in
the cohort weighs, or has taken a step in, keeps its direction. Weight decay is a gradient like any
other. Momentum, Adam and AdamW at the clients are refused: Δ is a mean of
gradients. The equations were checked against reproductions of Algorithm 1, not the paper's pages.

Sends: the weighted delta of every tensor that travels, its weight, and as many numbers as that has.
Costs: a round is two models down (the model and Δ) and one up; clients keep nothing.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, clients may train by DP-SGD, and the sum may be clipped and noised; Δ
follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concilium.algorithms._drift import pull, remembered
from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import positive
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedCm(Algorithm):
    """``alpha`` in (0, 1] is the share of a client's own gradient in a step; 1 is FedAvg.

    ``server_learning_rate`` η_g > 0 scales the mean delta.
    """

    alpha: float = 0.1
    server_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        positive(alpha=self.alpha, server_learning_rate=self.server_learning_rate)
        if self.alpha > 1:
            raise InputError(Problem("alpha", f"{self.alpha} is not in (0, 1]", "try 0.1"))

    def check(self, optimizer: OptimizerSettings) -> None:
        if optimizer.name != "sgd" or optimizer.momentum:
            what = "fedcm needs plain SGD: the momentum is the one that all clients share"
            remedy = 'set optimizer = "sgd" and momentum = 0 in [training], or take "fedavg"'
            raise InputError(Problem("", what, remedy))

    def broadcast(self, server: ServerState) -> Broadcast:
        return replace(super().broadcast(server), extras=server.extras)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        start, direction = broadcast.model, broadcast.extras
        push = direction * (1 / self.alpha - 1) if direction and self.alpha < 1 else None
        term = pull(start, 0.0, push)  # η (α g + (1 − α) Δ) = α η (g + (1/α − 1) Δ)
        trained, done = work.train(start, gradient_term=term, pace=self.alpha)
        update = update_of(trained - start, work, done, weighting)
        path = update.weight * (done.num_steps * work.optimizer.learning_rate)
        return replace(update, extras=path), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        before = remembered(server.extras, server.model)
        direction = {
            name: _direction(delta, total.extras[name], before[name])
            for name, delta in total.weighted_delta.items()
        }
        return replace(
            server,
            round=server.round + 1,
            model=server.model + total.mean_delta() * self.server_learning_rate,
            extras=NamedTensors(direction),
        )


def _direction(delta: Tensor, path: Tensor, before: Tensor) -> Tensor:
    """−Σ a_k δ_k / Σ a_k τ_k η, and what it was ``before`` where nobody made any way."""
    walked = path > 0
    found = -delta / torch.where(walked, path, torch.ones_like(path))
    return torch.where(walked, found.to(before.dtype), before)
