"""Normalised averaging: w ← w + τ_eff Σ p_k d_k, with d_k = (w_k − w) / ‖a_k‖₁.

Wang, Liu, Liang, Joshi, Poor: "Tackling the Objective Inconsistency Problem in Heterogeneous
Federated Optimization", NeurIPS 2020 (arXiv 2007.07481). ‖a_k‖₁ is how many gradients a client's
delta is worth: a hospital that takes more local steps goes further, and FedAvg then minimises a
loss in which it counts for more. For SGD with momentum ρ it is, after τ steps,

    ‖a_k‖₁ = [τ − ρ (1 − ρ^τ) / (1 − ρ)] / (1 − ρ),

τ itself where ρ = 0. p_k are the weights of the study, divided by their sum over the cohort, and
τ_eff = Σ p_k ‖a_k‖₁; where all take equally many steps, it is FedAvg. Weights may differ from
tensor to tensor and row to row: then p_k and τ_eff do.

Left out are the paper's proximal steps, its server momentum and its variance reduction. Adam is
refused: its steps are not sums of gradients with known factors. A client without a step has no
direction and no say. ‖a_k‖₁ for momentum was checked by hand and against a port of the authors'
code, not against the paper's pages.

Sends: the weighted direction of every tensor that travels, its weight, and weight times ‖a_k‖₁.
Costs: a round is one model down and one up, and one more weight up.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, clients may train by DP-SGD, and the sum may be clipped and noised; the
numbers of steps are summed without noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from concilium.algorithms._updates import weighted
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import InputError, Problem
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class FedNova(Algorithm):
    """Without settings: all follows from the local optimiser and the steps taken."""

    def check(self, optimizer: OptimizerSettings) -> None:
        if optimizer.name != "sgd":
            what = f"fednova cannot count the gradients in a step of {optimizer.name}"
            raise InputError(
                Problem("", what, 'set optimizer = "sgd" in [training] (momentum is allowed)')
            )

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        trained, done = work.train(broadcast.model)
        delta = trained - broadcast.model
        weight = weighting(delta, work.statistics, work.federation)
        worth = gradients_worth(done.num_steps, work.optimizer.momentum)
        if worth:
            delta = delta * (1 / worth)
        else:
            weight = weight * 0.0
        return weighted(delta, weight, work, done, extras=weight * worth), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        effective_steps = total.extras.safe_divide(total.weight).map(Tensor.float)
        model = server.model + total.mean_delta() * effective_steps
        return replace(server, round=server.round + 1, model=model)


def gradients_worth(num_steps: int, momentum: float) -> float:
    """‖a‖₁ after τ steps of SGD: a gradient counts ρ^i times i steps later, Σ_{i<τ} (τ − i) ρ^i.

    The same as the closed form of the paper, and defined at ρ = 1, too; 0 without a step.

    >>> gradients_worth(3, 0.0), gradients_worth(3, 0.5)  # 3, and 3 + 2/2 + 1/4
    (3.0, 4.25)
    """
    return float(sum((num_steps - i) * momentum**i for i in range(num_steps)))
