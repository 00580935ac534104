"""FedProx: its step by hand, FedAvg as its special case, and the drift that it bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from concilium.algorithms._drift import pull
from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fedprox import FedProx
from concilium.federation.sharing import travelling
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from tests.algorithms.quadratics import FLAT_AND_STEEP, SGD, Quadratic, Run, apart, minimum
from tests.algorithms.test_fedavg import distance, one_round
from tests.worlds import hospital_parts, linear_network, runtime

PARTS = hospital_parts((40, 25))
MANY_STEPS = LocalTraining(5, 8, OptimizerSettings("sgd", 0.2, momentum=0.5))


def test_without_a_pull_it_is_fedavg_bit_for_bit() -> None:
    model = travelling(linear_network(PARTS))
    plain = one_round(runtime(PARTS, MANY_STEPS), model)
    free = one_round(runtime(PARTS, MANY_STEPS, algorithm=FedProx(strength=0)), model)
    pulled = one_round(runtime(PARTS, MANY_STEPS, algorithm=FedProx(strength=0.5)), model)
    assert free.digest() == plain.digest() != pulled.digest()


def test_a_step_by_hand() -> None:
    """w ← w − η [∇F(w) + μ (w − w_t)], with F = (w − 3)², w_t = 1, η = 0.1, μ = 2.

    1 → 1 + 0.1·4 = 1.4; then ∇F = −3.2 and the pull 2·0.4 = 0.8: 1.4 + 0.1·2.4 = 1.64.
    """
    run = Run(FedProx(strength=2), [Quadratic((2.0,), (3.0,), steps=2)], start=(1.0,))
    assert float(run.rounds(1)) == pytest.approx(1.64)


def test_the_pull_is_to_the_model_of_the_round_not_to_the_first() -> None:
    # With many steps a client ends where (w − 3) + (w − w_t) = 0: 1.5, then 2.25 from 0.
    run = Run(FedProx(strength=1), [Quadratic((1.0,), (3.0,), steps=100)])
    assert float(run.rounds(1)) == pytest.approx(1.5, abs=1e-5)
    assert float(run.rounds(1)) == pytest.approx(2.25, abs=1e-5)


def test_drift_is_bounded_by_the_gradient_over_the_strength() -> None:
    """At its minimum μ (w_k − w_t) = −∇F_k(w_k); F_k convex: ‖w_k − w_t‖ ≤ ‖∇F_k(w_t)‖ / μ."""
    client = Quadratic((0.2,), (40.0,), steps=300)
    steepest = float(client.gradient(torch.zeros(1)).abs())  # 8
    for strength in (0.5, 1.0, 4.0):
        drift = float(Run(FedProx(strength=strength), [client]).rounds(1).abs())
        assert drift <= steepest / strength
        assert drift == pytest.approx(steepest / (0.2 + strength), rel=1e-3)
    assert float(Run(FedAvg(), [client]).rounds(1)) > steepest / 0.5  # FedAvg goes all the way


def test_clients_that_train_long_end_nearer_to_the_common_minimum_than_with_fedavg() -> None:
    """Exact clients meet where Σ c_k/(c_k + μ) (b_k − w) = 0: the common minimum as μ grows."""
    clients = [replace(client, steps=30) for client in FLAT_AND_STEEP]
    best = minimum(clients)
    fedavg = apart(Run(FedAvg(), clients).rounds(2), best)
    found = []
    for strength in (0.5, 4.0):
        weights = [1 / (client.curvature[0] + strength) for client in clients]
        end = Run(FedProx(strength=strength), clients).rounds(25)
        assert apart(end, minimum(clients, weights)) < 0.02
        found.append(apart(end, best))
    assert fedavg > 2.8  # it ends near the plain mean of the optima, 0
    assert found[1] < 0.3 < found[0] < 0.5 * fedavg


def test_every_tensor_that_travels_is_pulled_and_none_else() -> None:
    model = travelling(linear_network(PARTS))
    ends = [
        one_round(runtime(PARTS, MANY_STEPS, algorithm=FedProx(strength=s)), model) for s in (0, 2)
    ]
    for name in model:
        free, pulled = (float((end[name] - model[name]).norm()) for end in ends)
        assert pulled < 0.7 * free, name
    term = pull(NamedTensors({"a": torch.tensor([1.0])}), 3.0)
    assert term is not None
    added = term({"a": torch.tensor([2.0]), "stays.at.home": torch.tensor([9.0])})
    assert {name: tensor.tolist() for name, tensor in added.items()} == {"a": [3.0]}


def test_it_works_with_every_local_optimiser() -> None:
    model = travelling(linear_network(PARTS))
    for name in ("adam", "adamw"):
        training = LocalTraining(2, 8, OptimizerSettings(name, 0.01))
        assert distance(one_round(runtime(PARTS, training, algorithm=FedProx()), model), model) > 0


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(InputError, match="strength=-1 must be >= 0"):
        FedProx(strength=-1)
    assert SGD.learning_rate == 0.1  # the numbers above are for this rate
