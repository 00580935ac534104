"""Federated averaging: w ← w + η Σ a_k (w_k − w) / Σ a_k.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks
from Decentralized Data", AISTATS 2017, Algorithm 1 (arXiv 1602.05629); the server learning rate η
after Reddi et al., "Adaptive Federated Optimization", ICLR 2021, Algorithm 1 (arXiv 2003.00295): η
= 1 is the plain average.

Sends: the weighted delta of every tensor that travels, and its weight.
Costs: a round is one model down and one up.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, clients may train by DP-SGD, and the sum may be clipped and noised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import positive
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """``server_learning_rate`` > 0 scales the mean delta."""

    server_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        positive(server_learning_rate=self.server_learning_rate)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        trained, done = work.train(broadcast.model)
        return update_of(trained - broadcast.model, work, done, weighting), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        model = server.model + total.mean_delta() * self.server_learning_rate
        return replace(server, round=server.round + 1, model=model)
