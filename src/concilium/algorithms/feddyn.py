"""A regulariser that moves: each client minimises f_k(w) − ⟨g_k, w⟩ + α/2 ‖w − w_t‖².

Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama: "Federated Learning Based on Dynamic
Regularization", ICLR 2021, Algorithm 1 (arXiv 2111.04263). From the minimum w_k a client takes
g_k ← g_k − α (w_k − w_t), which is its own gradient there, and the server

    h ← h − (α/K) Σ (w_k − w_t),    w_{t+1} = mean of w_k − h/α,

sum and mean over the cohort, K the whole federation. All memories are zero at the start. Where
nothing moves any more, the own gradients sum to zero: a stationary point of the plain mean of the
hospitals' losses, however far each client trains alone. With full participation the first round
moves twice as far as the plain average.

As in the paper, every client of the cohort counts as one, and the weighting of the study is not
used: h could not balance a weighted mean. (The authors' code divides α by a client's share of the
images, which weighs the losses by images.) A client without a step has an f_k that is constant, and
its minimum is w_t: it counts as the others do. Ours differs in one thing: a client does the local
epochs of the study instead of an exact minimisation, so g_k is its gradient only nearly. The
server's step was checked against the authors' code, the equations against descriptions of the
paper, not its pages.

Sends: the delta of every tensor that travels.
Costs: a round is one model down and one up; each hospital keeps g_k, the server h.
Secure sum: yes, the server needs the total and the number of clients only.
Differential privacy: yes, clients may train by DP-SGD, for g_k follows from trained models and is
added after the noise; the sum may be clipped and noised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from concilium.algorithms._drift import pull, remembered
from concilium.algorithms._updates import weighted
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update, scalar_weight
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import positive
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedDyn(Algorithm):
    """``strength`` α > 0 of the regulariser; the paper tunes it over 0.001, 0.01 and 0.1."""

    strength: float = 0.1

    def __post_init__(self) -> None:
        positive(strength=self.strength)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        start = broadcast.model
        own = remembered(state.extras, start)
        trained, done = work.train(start, gradient_term=pull(start, self.strength, push=own * -1.0))
        delta = trained - start
        state = replace(state, extras=own - delta * self.strength)
        return weighted(delta, scalar_weight(delta, 1.0), work, done), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        summed = total.weighted_delta.map(Tensor.float)
        share = self.strength / server.num_clients
        balance = remembered(server.extras, server.model) - summed * share
        model = server.model + total.mean_delta() - balance * (1 / self.strength)
        return replace(server, round=server.round + 1, model=model, extras=balance)
