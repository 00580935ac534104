"""Local steps corrected for drift: w ← w − η (g_k(w) − c_k + c), with control variates c_k and c.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh: "SCAFFOLD: Stochastic Controlled Averaging for
Federated Learning", ICML 2020, Algorithm 1 with option II (arXiv 1910.06378). After τ steps from
the model x to w_k a client takes for c_k the mean of the gradients that it met,

    c_k⁺ = c_k − c + (x − w_k) / (τ η),

and the server moves by x ← x + η_g · mean of (w_k − x) and c ← c + (1/K) Σ (c_k⁺ − c_k), the sum
over the cohort, K the whole federation. All variates are zero at the start, so the first round is
FedAvg's.

Ours differs in one thing: deltas are averaged with the weighting of the study (the paper: plainly).
As c is the plain mean of the c_k, a stationary point is one of the plain mean of the hospitals'
losses, as in the paper, whatever the weighting: each hospital counts as one, and a weighting only
shapes the way there. Option II needs plain gradient steps, so momentum, Adam and AdamW are refused;
weight decay is a gradient like any other. Do not clip (``clip_norm`` = 0): clipping acts on
g_k − c_k + c together, so what c_k⁺ takes back of it is then no mean of gradients. That is not
refused. A client without a step (nothing known) keeps its c_k. The equations were checked against
reproductions of Algorithm 1, not the paper's pages.

Sends: the weighted delta of every tensor that travels, its weight, and c_k⁺ − c_k.
Costs: a round is two models down (the model and c) and two up; each hospital keeps c_k.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, clients may train by DP-SGD, for c_k⁺ follows from the trained model and
what was known before; where sums are clipped and noised, that of the c_k⁺ − c_k must be, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from concilium.algorithms._drift import pull, remembered
from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import positive
from concilium.foundation.errors import InputError, Problem
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class Scaffold(Algorithm):
    """``server_learning_rate`` η_g > 0 scales the mean delta."""

    server_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        positive(server_learning_rate=self.server_learning_rate)

    def check(self, optimizer: OptimizerSettings) -> None:
        if optimizer.name != "sgd" or optimizer.momentum:
            what = "scaffold needs plain SGD: its control variates are means of gradients"
            raise InputError(
                Problem("", what, 'set optimizer = "sgd" and momentum = 0 in [training]')
            )

    def broadcast(self, server: ServerState) -> Broadcast:
        variate = remembered(server.extras, server.model)
        return replace(super().broadcast(server), extras=variate)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        start, variate = broadcast.model, broadcast.extras
        own = remembered(state.extras, start)
        trained, done = work.train(start, gradient_term=pull(start, 0.0, push=variate - own))
        new = own
        if done.num_steps:
            moved = (start - trained) * (1 / (done.num_steps * work.optimizer.learning_rate))
            new = own - variate + moved
        update = update_of(trained - start, work, done, weighting, extras=new - own)
        return update, replace(state, extras=new)

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        mean_change = total.extras.map(Tensor.float) * (1 / server.num_clients)
        return replace(
            server,
            round=server.round + 1,
            model=server.model + total.mean_delta() * self.server_learning_rate,
            extras=remembered(server.extras, server.model) + mean_change,
        )
