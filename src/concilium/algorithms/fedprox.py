"""FedAvg with clients held near the global model: each minimises F_k(w) + μ/2 ‖w − w_t‖².

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: "Federated Optimization in Heterogeneous Networks",
MLSys 2020, Eq. 2 and Algorithm 2 (arXiv 1812.06127). The term is the squared norm over all tensors
that travel together, from the model of the round's start, at every step; tensors that stay at home
(FedBN) are free. μ = 0 is FedAvg, bit for bit. Ours differs in two things: a client does the local
epochs of the study instead of stopping at a γ-inexact minimum, and clients are averaged with the
weighting of the study, where the paper draws them in proportion to n_k and averages plainly. The
paper's equations were checked against descriptions of it, not its pages.

Sends: the weighted delta of every tensor that travels, and its weight.
Costs: a round is one model down and one up.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, clients may train by DP-SGD (the term knows no image, so it is added
after the noise), and the sum may be clipped and noised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from concilium.algorithms._drift import pull
from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import not_negative
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedProx(Algorithm):
    """``strength`` μ ≥ 0 of the pull to the global model (0 is FedAvg).

    The paper tunes μ over 0.001, 0.01, 0.1 and 1. Plain gradient descent with learning rate η is
    stable only for η (μ + curvature of the loss) < 2.
    """

    strength: float = 0.01

    def __post_init__(self) -> None:
        not_negative(strength=self.strength)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        start = broadcast.model
        trained, done = work.train(start, gradient_term=pull(start, self.strength))
        return update_of(trained - start, work, done, weighting), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        return replace(server, round=server.round + 1, model=server.model + total.mean_delta())
