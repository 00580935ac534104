"""Federated averaging of deltas of at most norm C: Δ_k ← Δ_k · min(1, C / ‖Δ_k‖).

Sun, Kairouz, Suresh, McMahan: "Can You Really Backdoor Federated Learning?", 2019 (arXiv
1911.07963), the defence by norm thresholding. No hospital, whatever its data or its mistakes, moves
the model further than C in a round. Ours differs in the weighting, which is that of the study.

Sends: the weighted, clipped delta of every tensor that travels, and its weight.
Costs: a round is one model down and one up.
Secure sum: yes, each hospital clips its own delta before it is summed.
Differential privacy: yes, a bounded delta is what noise on the sum needs (with equal weights).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import positive
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class ClippedAverage(Algorithm):
    """``norm`` C > 0: the furthest that one hospital may go, over all tensors together."""

    norm: float = 1.0

    def __post_init__(self) -> None:
        positive(norm=self.norm)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        trained, done = work.train(broadcast.model)
        delta = trained - broadcast.model
        if delta.norm() > self.norm:
            delta = delta * (self.norm / delta.norm())
        weight = weighting(delta, work.statistics, work.federation)
        if not done.num_steps:  # nothing known: no loss to report
            return Update(delta * weight, weight), state
        return Update(delta * weight, weight, loss=done.mean_loss, loss_weight=1.0), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        return replace(server, round=server.round + 1, model=server.model + total.mean_delta())
