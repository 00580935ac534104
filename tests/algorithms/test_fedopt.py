"""FedOpt: two steps of each server optimiser by hand, and what adapting is good for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fedopt import FedOpt
from concilium.federation.messages import Update
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import ComponentError, InputError
from concilium.foundation.named_tensors import NamedTensors
from tests.algorithms.quadratics import FAST, Quadratic, Run, apart, minimum
from tests.algorithms.test_fedavg import one_round
from tests.worlds import hospital_parts, linear_network, runtime

FIRST_DELTA, SECOND_DELTA = (0.3, -0.002), (-0.1, 0.004)
ETA, BETA1, BETA2, TAU = 0.5, 0.8, 0.9, 0.01


def as_update(delta: tuple[float, float]) -> Update:
    """What the server gets where the weighted mean delta is this one: weight 4 in all."""
    weighted = NamedTensors({"w": 4 * torch.tensor(delta, dtype=torch.float64)})
    return Update(weighted, NamedTensors({"w": torch.tensor(4.0, dtype=torch.float64)}))


def by_hand(optimizer: str, deltas: list[float], w: float) -> float:
    """Algorithm 2 for one number, as it is printed."""
    m, v = 0.0, TAU**2
    for delta in deltas:
        m = BETA1 * m + (1 - BETA1) * delta
        if optimizer == "adagrad":
            v = v + delta**2
        elif optimizer == "yogi":
            v = v - (1 - BETA2) * delta**2 * math.copysign(1, v - delta**2)
        else:
            v = BETA2 * v + (1 - BETA2) * delta**2
        w = w + ETA * m / (math.sqrt(v) + TAU)
    return w


@pytest.mark.parametrize("optimizer", ["adam", "yogi", "adagrad"])
def test_two_steps_of_algorithm_2_by_hand(optimizer: str) -> None:
    algorithm = components.build(
        "algorithms",
        "fedopt",
        {
            "optimizer": optimizer,
            "server_learning_rate": ETA,
            "beta1": BETA1,
            "beta2": BETA2,
            "adaptivity": TAU,
        },
    )
    server = ServerState(0, NamedTensors({"w": torch.tensor([1.0, 2.0])}), 3)
    for delta in (FIRST_DELTA, SECOND_DELTA):
        server = algorithm.server_update(server, as_update(delta))
    expected = [
        by_hand(optimizer, [FIRST_DELTA[i], SECOND_DELTA[i]], w) for i, w in enumerate((1.0, 2.0))
    ]
    assert server.model["w"].tolist() == pytest.approx(expected, rel=1e-5)
    assert server.round == 2


def test_a_first_step_of_adam_in_numbers() -> None:
    """Δ = 0.3, β₁ = 0.8, β₂ = 0.9, τ = 0.01: m = 0.06, v = 0.9·1e-4 + 0.1·0.09 = 0.00909.

    Without bias correction: 0.5·0.06 / (0.09534 + 0.01) = 0.28479.
    """
    algorithm = FedOpt("adam", ETA, BETA1, BETA2, TAU)
    server = ServerState(0, NamedTensors({"w": torch.zeros(2)}), 3)
    server = algorithm.server_update(server, as_update(FIRST_DELTA))
    assert float(server.model["w"][0]) == pytest.approx(0.28479, abs=1e-5)


def test_yogi_adds_and_takes_away_where_adam_averages() -> None:
    """v = τ² = 1e-4: Δ² = 0.09 is more, v grows by 0.1·Δ²; Δ² = 4e-6 is less, v shrinks by it."""
    server = ServerState(0, NamedTensors({"w": torch.zeros(2)}), 3)
    server = FedOpt("yogi", ETA, BETA1, BETA2, TAU).server_update(server, as_update(FIRST_DELTA))
    expected = [1e-4 + 0.1 * 0.09, 1e-4 - 0.1 * 4e-6]
    assert server.extras["second/w"].tolist() == pytest.approx(expected, rel=1e-5)


def test_momentum_without_memory_is_fedavg() -> None:
    parts = hospital_parts((40, 25))
    model = travelling(linear_network(parts))
    plain = one_round(runtime(parts), model)
    same = one_round(runtime(parts, algorithm=FedOpt("momentum", beta1=0)), model)
    assert same.digest() == plain.digest()


def test_momentum_by_hand() -> None:
    """FedAvgM: v ← β v + Δ, w ← w + η v: Δ = 0.3, then 0.8·0.3 − 0.1 = 0.14; half of the sum."""
    server = ServerState(0, NamedTensors({"w": torch.zeros(2)}), 3)
    for delta in (FIRST_DELTA, SECOND_DELTA):
        server = FedOpt("momentum", ETA, beta1=BETA1).server_update(server, as_update(delta))
    assert float(server.model["w"][0]) == pytest.approx(0.5 * (0.3 + 0.14), rel=1e-5)
    assert set(server.extras) == {"first/w"}


def test_rates_that_are_not_given_fit_the_optimiser() -> None:
    server = ServerState(0, NamedTensors({"w": torch.zeros(2)}), 3)
    moved = {
        name: server_moved(FedOpt(name), server) for name in ("momentum", "adam", "yogi", "adagrad")
    }
    assert moved["momentum"] == pytest.approx(0.3)
    assert all(0 < moved[name] < 0.02 for name in ("adam", "yogi", "adagrad"))


def server_moved(algorithm: FedOpt, server: ServerState) -> float:
    return float(algorithm.server_update(server, as_update(FIRST_DELTA)).model["w"][0])


@pytest.mark.parametrize("optimizer", ["adam", "yogi", "adagrad"])
def test_a_flat_direction_is_not_left_behind(optimizer: Any) -> None:
    """Curvatures 1 and 0.001: plain averaging is still near the start in the flat direction."""
    clients = [Quadratic((1.0, 0.001), (b, 2 + b), steps=2, optimizer=FAST) for b in (-0.5, 0.5)]
    best = minimum(clients)  # (0, 2)
    plain = Run(FedAvg(), clients, start=(1.0, 0.0)).rounds(60)
    assert apart(plain[:1], best[:1]) < 1e-3 and apart(plain[1:], best[1:]) > 1.5
    beta1 = 0.0 if optimizer == "adagrad" else 0.9
    rate = 0.5 if optimizer == "adagrad" else 0.06
    algorithm = FedOpt(optimizer, rate, beta1=beta1, adaptivity=1e-4)
    adapted = Run(algorithm, clients, start=(1.0, 0.0)).rounds(60)
    assert apart(adapted, best) < 0.2


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"adaptivity=0 must be > 0"):
        FedOpt(adaptivity=0)
    with pytest.raises(InputError, match=r"beta2=1.5 must lie between 0 and 1"):
        FedOpt(beta2=1.5)
    for beta in ("beta1", "beta2"):  # the paper has [0, 1)
        with pytest.raises(InputError, match=f"{beta}=1 would forget nothing"):
            FedOpt(**{beta: 1.0})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"server_learning_rate=0 must be > 0"):
        FedOpt(server_learning_rate=0)
    with pytest.raises(ComponentError, match=r"fedopt.optimizer.*'adamw'"):
        components.build("algorithms", "fedopt", {"optimizer": "adamw"})
