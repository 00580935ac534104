"""SCAFFOLD: Algorithm 1 by hand, FedAvg in the first round, and no drift afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.scaffold import Scaffold
from concilium.federation.messages import Broadcast
from concilium.federation.sharing import travelling
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from tests.algorithms.quadratics import FLAT_AND_STEEP, Quadratic, Run, apart, minimum
from tests.algorithms.test_fedavg import one_round
from tests.worlds import hospital_parts, linear_network, runtime

CLIENTS = (
    Quadratic((1.0,), (2.0,), steps=2),
    Quadratic((3.0,), (-1.0,), steps=4),
    Quadratic((0.5,), (5.0,), steps=1),
)


def test_the_first_round_is_fedavg() -> None:
    parts = hospital_parts((40, 25))
    training = LocalTraining(3, 8, OptimizerSettings("sgd", 0.2))
    model = travelling(linear_network(parts))
    plain = one_round(runtime(parts, training), model)
    assert one_round(runtime(parts, training, algorithm=Scaffold()), model).digest() == (
        plain.digest()
    )


def test_algorithm_1_by_hand() -> None:
    """Four rounds of cohorts of two of three, with η_g = 0.5, in plain Python numbers."""
    eta, eta_g = 0.1, 0.5
    x, c, own = 1.0, 0.0, [0.0, 0.0, 0.0]
    run = Run(Scaffold(server_learning_rate=eta_g), CLIENTS, start=(x,))
    for cohort in ((0, 1), (1, 2), (2, 0), (0, 1)):
        moves, changes = [], []
        for k in cohort:
            client, y = CLIENTS[k], x
            for _ in range(client.steps):
                gradient = client.curvature[0] * (y - client.optimum[0])
                y -= eta * (gradient - own[k] + c)
            new = own[k] - c + (x - y) / (client.steps * eta)
            moves.append(y - x)
            changes.append(new - own[k])
            own[k] = new
        x += eta_g * sum(moves) / 2
        c += sum(changes) / 3  # |S| / N times the mean of the cohort
        run.round(cohort)
        assert float(run.model) == pytest.approx(x, rel=1e-5)
        assert float(run.server.extras["w"]) == pytest.approx(c, rel=1e-5)
        for k in cohort:
            assert float(run.states[k].extras["w"]) == pytest.approx(own[k], rel=1e-5)


def test_the_control_variate_is_the_mean_of_the_gradients_of_the_steps() -> None:
    run = Run(Scaffold(), [Quadratic((1.0,), (2.0,), steps=2)])
    run.round()
    # From 0 the gradients are −2 and, at 0.2, −1.8.
    assert float(run.states[0].extras["w"]) == pytest.approx(-1.9)
    # The same with weight decay 0.5, a gradient like any other: −2 and −1.8 + 0.5·0.2.
    optimizer = OptimizerSettings("sgd", 0.1, weight_decay=0.5)
    run = Run(Scaffold(), [Quadratic((1.0,), (2.0,), 2, optimizer)])
    run.round()
    assert float(run.states[0].extras["w"]) == pytest.approx((-2 - 1.7) / 2)


def test_the_correction_is_applied_at_every_step() -> None:
    """A delta with c = 5 is off that with c = 0: a published library's is the same for both."""
    client = Quadratic((0.0,), (0.0,), steps=3)  # no gradient of its own: only c moves it
    model = NamedTensors({"w": torch.zeros(1)})
    moved = []
    for c in (0.0, 5.0):
        run = Run(Scaffold(), [client])
        broadcast = Broadcast(1, model, NamedTensors({"w": torch.tensor([c])}))
        moved.append(float(run.answer(0, broadcast).weighted_delta["w"]))
    assert moved == pytest.approx([0, -0.1 * 5 * 3])


def test_the_server_s_variate_travels_from_the_second_round_on() -> None:
    run = Run(Scaffold(), CLIENTS)
    assert float(run.algorithm.broadcast(run.server).extras["w"]) == 0
    run.round()
    mean = sum(float(run.states[k].extras["w"]) for k in range(3)) / 3
    assert float(run.algorithm.broadcast(run.server).extras["w"]) == pytest.approx(mean)


def test_it_reaches_the_minimum_where_fedavg_drifts() -> None:
    best = minimum(FLAT_AND_STEEP)  # 3.27
    assert apart(Run(Scaffold(), FLAT_AND_STEEP).rounds(40), best) < 1e-3
    assert apart(Run(FedAvg(), FLAT_AND_STEEP).rounds(40), best) > 1


def test_it_reaches_the_minimum_with_one_client_a_round() -> None:
    clients = [replace(client, steps=5) for client in CLIENTS]
    cohorts = ((0,), (1,), (2,))
    algorithm = Scaffold(server_learning_rate=0.3)
    best = minimum(clients)
    assert apart(Run(algorithm, clients).rounds(120, cohorts), best) < 0.01
    plain = Run(FedAvg(server_learning_rate=0.3), clients).rounds(120, cohorts)
    assert apart(plain, best) > 0.1


def test_where_it_ends_is_the_plain_mean_of_losses_whatever_the_weighting() -> None:
    clients = [replace(FLAT_AND_STEEP[0], num_images=4), FLAT_AND_STEEP[1]]
    assert apart(Run(Scaffold(), clients).rounds(60), minimum(clients)) < 1e-3


def test_a_client_without_a_step_keeps_its_variate_and_sends_no_change() -> None:
    run = Run(Scaffold(), CLIENTS)
    run.rounds(2)
    before = run.states[0].extras["w"]
    run.clients = [replace(CLIENTS[0], steps=0), *CLIENTS[1:]]
    update = run.answer(0, run.algorithm.broadcast(run.server))
    assert run.states[0].extras["w"].tolist() == before.tolist()
    assert update.extras["w"].tolist() == [0.0]


@pytest.mark.parametrize(
    "optimizer",
    [
        OptimizerSettings("sgd", 0.1, momentum=0.9),
        OptimizerSettings("adam", 0.1),
        OptimizerSettings("adamw", 0.1),
    ],
)
def test_what_is_not_plain_sgd_is_refused(optimizer: OptimizerSettings) -> None:
    with pytest.raises(InputError, match=r"scaffold needs plain SGD.*set optimizer"):
        Scaffold().check(optimizer)


def test_plain_sgd_with_weight_decay_is_taken_and_a_rate_of_zero_is_not() -> None:
    Scaffold().check(OptimizerSettings("sgd", 0.1, weight_decay=0.1))
    with pytest.raises(InputError, match="must be > 0"):
        Scaffold(server_learning_rate=0)
