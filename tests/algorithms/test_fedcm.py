"""FedCM: Algorithm 1 by hand, FedAvg without a direction, and less drift with few steps a round."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fedcm import FedCm
from concilium.federation.messages import Update
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from tests.algorithms.quadratics import FLAT_AND_STEEP, Quadratic, Run, apart, minimum
from tests.algorithms.test_fedavg import one_round
from tests.worlds import hospital_parts, linear_network, runtime

SGD_RATE = 0.1  # of the quadratics
CLIENTS = (
    Quadratic((1.0,), (2.0,), steps=2),
    Quadratic((3.0,), (-1.0,), steps=4),
    Quadratic((0.5,), (5.0,), steps=1),
)


def test_the_first_round_is_fedavg_at_alpha_times_the_learning_rate() -> None:
    """There is no direction yet; α = ½, so that the product is exact."""
    parts = hospital_parts((40, 25))
    whole, half = (LocalTraining(3, 8, OptimizerSettings("sgd", rate)) for rate in (0.2, 0.1))
    model = travelling(linear_network(parts))
    plain = one_round(runtime(parts, half), model)
    own = one_round(runtime(parts, whole, algorithm=FedCm(alpha=0.5)), model)
    assert own.digest() == plain.digest()


def test_with_alpha_1_every_round_is_fedavg() -> None:
    plain, own = Run(FedAvg(), CLIENTS), Run(FedCm(alpha=1.0), CLIENTS)
    assert own.rounds(5).tolist() == plain.rounds(5).tolist()


def test_algorithm_1_by_hand() -> None:
    """Four rounds of cohorts of two of three, with α = 0.25 and η_g = 0.5, in plain numbers."""
    eta, alpha, eta_g = 0.1, 0.25, 0.5
    x, direction = 1.0, 0.0
    run = Run(FedCm(alpha, eta_g), CLIENTS, start=(x,))
    for cohort in ((0, 1), (1, 2), (2, 0), (0, 1)):
        moves, steps = [], []
        for k in cohort:
            client, y = CLIENTS[k], x
            for _ in range(client.steps):
                gradient = client.curvature[0] * (y - client.optimum[0])
                y -= eta * (alpha * gradient + (1 - alpha) * direction)
            moves.append(y - x)
            steps.append(client.steps)
        mean_move, mean_steps = sum(moves) / 2, sum(steps) / 2
        direction = -mean_move / (mean_steps * eta)
        x += eta_g * mean_move
        run.round(cohort)
        assert float(run.model) == pytest.approx(x, rel=1e-5)
        assert float(run.server.extras["w"]) == pytest.approx(direction, rel=1e-5)


def test_the_direction_weighs_hospitals_as_the_delta_does() -> None:
    """Images 4, 1 and 5; the third has taken no step, and its weight must not dilute Δ."""
    clients = [replace(CLIENTS[0], num_images=4), CLIENTS[1], replace(CLIENTS[2], num_images=5)]
    clients[2] = replace(clients[2], steps=0)
    run = Run(FedCm(alpha=0.5), clients, start=(1.0,))
    run.round()
    eta, way, path = SGD_RATE, 0.0, 0.0
    for client in clients:
        y = 1.0
        for _ in range(client.steps):
            y -= eta * 0.5 * client.curvature[0] * (y - client.optimum[0])
        way += client.num_images * (1.0 - y)
        path += client.num_images * client.steps * eta
    assert float(run.server.extras["w"]) == pytest.approx(way / path, rel=1e-5)


def test_a_row_that_nobody_in_the_cohort_knows_keeps_its_direction() -> None:
    """Weights by row: the second row has none in the second round."""
    algorithm, model = FedCm(), NamedTensors({"w": torch.zeros(2)})
    server = ServerState(1, model, 1, extras=NamedTensors({"w": torch.tensor([3.0, 4.0])}))
    weight = NamedTensors({"w": torch.tensor([2.0, 0.0])})
    delta = NamedTensors({"w": torch.tensor([-1.0, 0.0])})  # weighted: 2 × −0.5
    total = Update(delta, weight, weight * 0.1)
    assert algorithm.server_update(server, total).extras["w"].tolist() == pytest.approx([5.0, 4.0])


def test_with_equal_steps_the_direction_is_a_moving_average_of_gradients() -> None:
    """Along a line (no curvature to speak of) with gradient −1: Δ ← α · (−1) + (1 − α) Δ."""
    slope = Quadratic((1e-6,), (1e6,), steps=3)
    run = Run(FedCm(alpha=0.2), [slope, slope])
    expected = 0.0
    for _ in range(4):
        run.round()
        expected = 0.2 * -1 + 0.8 * expected
        assert float(run.server.extras["w"]) == pytest.approx(expected, rel=1e-3)


def test_it_is_faster_than_small_steps_and_drifts_less_than_large_ones() -> None:
    """After 20 rounds: FedAvg with η = 0.01 is .43 away, with 0.1 it has drifted to .63; ours .09.

    Ours steps by α η = 0.01 along its own gradient. With unequal curvature FedAvg ends away from
    the minimum, as each client runs to its own.
    """
    best = minimum(FLAT_AND_STEEP)
    small, large, middle = (
        [replace(own, optimizer=OptimizerSettings("sgd", rate)) for own in FLAT_AND_STEEP]
        for rate in (0.01, 0.1, 0.01 / 0.3)
    )
    shared = apart(Run(FedCm(alpha=0.3), middle).rounds(20), best)
    assert shared < 0.3 * apart(Run(FedAvg(), small).rounds(20), best)
    assert shared < 0.3 * apart(Run(FedAvg(), large).rounds(20), best)


def test_a_cohort_without_a_step_keeps_the_direction() -> None:
    run = Run(FedCm(), CLIENTS)
    run.round()
    before = run.server.extras["w"].tolist()
    run.clients = [replace(client, steps=0) for client in CLIENTS]
    run.round()
    assert run.server.extras["w"].tolist() == before


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_what_is_not_plain_sgd_is_refused(name: str) -> None:
    optimizer = OptimizerSettings(name, 0.1, momentum=0.9 if name == "sgd" else 0.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"fedcm needs plain SGD.*set optimizer"):
        FedCm().check(optimizer)


@pytest.mark.parametrize("alpha", [0.0, 1.1])
def test_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha"):
        FedCm(alpha)
