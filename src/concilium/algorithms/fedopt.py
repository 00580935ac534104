"""The mean delta as a gradient for a server optimiser: FedAdam, FedYogi, FedAdagrad and FedAvgM.

Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan: "Adaptive Federated Optimization",
ICLR 2021, Algorithm 2 (arXiv 2003.00295). With the mean delta Δ, element by element,

    m ← β₁ m + (1 − β₁) Δ
    v ← v + Δ²                          (adagrad)
    v ← v − (1 − β₂) Δ² sign(v − Δ²)    (yogi)
    v ← β₂ v + (1 − β₂) Δ²              (adam)
    w ← w + η m / (√v + τ).

As in the paper there is no bias correction, m starts at 0, and v at τ², the least value that it
allows. "momentum" is FedAvgM: Hsu, Qi, Brown: "Measuring the Effects of Non-Identical Data
Distribution for Federated Visual Classification", 2019 (arXiv 1909.06335): m ← β₁ m + Δ and
w ← w + η m, without the factor 1 − β₁; with β₁ = 0 and η = 1 it is FedAvg. Ours differs in one
thing: Δ is the mean with the weighting of the study; the paper's Algorithm 2 averages plainly. The
equations were checked against reproductions of Algorithm 2, not the papers' pages.

Sends: the weighted delta of every tensor that travels, and its weight.
Costs: a round is one model down and one up; the server keeps one model more, or two.
Secure sum: yes, the server needs the total only.
Differential privacy: yes, clients may train by DP-SGD, and the sum may be clipped and noised; what
the server does with it costs no privacy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from concilium.algorithms._updates import update_of
from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.federation.messages import Broadcast, Update
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.checks import fraction, positive
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.weightings.contract import Weighting

FIRST, SECOND = "first/", "second/"
"""Before the names of m and v in the server's memory."""


@dataclass(frozen=True)
class FedOpt(Algorithm):
    """``optimizer`` of the server, its ``beta1`` and ``beta2`` in [0, 1), ``adaptivity`` τ > 0.

    ``server_learning_rate`` η > 0 is, if not given, 1 for "momentum" and 0.01 for the others, whose
    steps are about η in every element, however small the delta. The smaller τ, the more they
    adapt. "adagrad" does not use β₂, "momentum" neither β₂ nor τ.
    """

    optimizer: Literal["adam", "yogi", "adagrad", "momentum"] = "adam"
    server_learning_rate: float | None = None
    beta1: float = 0.9
    beta2: float = 0.99
    adaptivity: float = 1e-3

    def __post_init__(self) -> None:
        positive(server_learning_rate=self._rate, adaptivity=self.adaptivity)
        fraction(beta1=self.beta1, beta2=self.beta2)
        for name, value in {"beta1": self.beta1, "beta2": self.beta2}.items():
            if value == 1:
                raise InputError(f"{name}=1 would forget nothing: it must be less than 1")

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        trained, done = work.train(broadcast.model)
        return update_of(trained - broadcast.model, work, done, weighting), state

    def server_update(self, server: ServerState, total: Update) -> ServerState:
        delta = total.mean_delta()
        first = _memory(server, FIRST, 0.0) * self.beta1
        if self.optimizer == "momentum":
            first, extras = first + delta, {}
            step = first
        else:
            first = first + delta * (1 - self.beta1)
            second = self._second(_memory(server, SECOND, self.adaptivity**2), delta)
            step = first.combine(second, lambda m, v: m / (v.sqrt() + self.adaptivity))
            extras = {SECOND + name: tensor for name, tensor in second.items()}
        extras |= {FIRST + name: tensor for name, tensor in first.items()}
        model = server.model + step * self._rate
        return replace(server, round=server.round + 1, model=model, extras=NamedTensors(extras))

    def _second(self, second: NamedTensors, delta: NamedTensors) -> NamedTensors:
        square = delta * delta
        if self.optimizer == "adagrad":
            return second + square
        if self.optimizer == "yogi":
            return second - square * (second - square).map(torch.sign) * (1 - self.beta2)
        return second * self.beta2 + square * (1 - self.beta2)

    @property
    def _rate(self) -> float:
        if self.server_learning_rate is not None:
            return self.server_learning_rate
        return 1.0 if self.optimizer == "momentum" else 0.01


def _memory(server: ServerState, start: str, at_first: float) -> NamedTensors:
    """The server's m or v, one tensor for each of the model's; ``at_first`` in the first round."""
    return NamedTensors(
        {
            name: server.extras.get(start + name, torch.full_like(tensor, at_first))
            for name, tensor in server.model.items()
        }
    )
