"""FedDyn: Algorithm 1 by hand, its memories, and the stationary point that it ends at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.feddyn import FedDyn
from concilium.algorithms.fedprox import FedProx
from concilium.foundation.errors import InputError
from tests.algorithms.quadratics import FAST, FLAT_AND_STEEP, Quadratic, Run, apart, minimum

CLIENTS = (
    Quadratic((1.0,), (2.0,), steps=2),
    Quadratic((3.0,), (-1.0,), steps=4),
    Quadratic((0.5,), (5.0,), steps=1),
)


def test_algorithm_1_by_hand() -> None:
    """Four rounds of cohorts of two of three, α = 0.5, in plain Python numbers."""
    alpha, eta = 0.5, 0.1
    theta, h, own = 1.0, 0.0, [0.0, 0.0, 0.0]
    run = Run(FedDyn(strength=alpha), CLIENTS, start=(theta,))
    for cohort in ((0, 1), (1, 2), (2, 0), (0, 1)):
        ends = []
        for k in cohort:
            client, y = CLIENTS[k], theta
            for _ in range(client.steps):
                gradient = client.curvature[0] * (y - client.optimum[0])
                y -= eta * (gradient - own[k] + alpha * (y - theta))
            own[k] -= alpha * (y - theta)
            ends.append(y)
        h -= alpha / 3 * sum(y - theta for y in ends)
        theta = sum(ends) / 2 - h / alpha
        run.round(cohort)
        assert float(run.model) == pytest.approx(theta, rel=1e-5)
        assert float(run.server.extras["w"]) == pytest.approx(h, rel=1e-5)
        for k in cohort:
            assert float(run.states[k].extras["w"]) == pytest.approx(own[k], rel=1e-5)


def test_the_first_round_goes_twice_as_far_as_fedprox() -> None:
    # g_k = 0 leaves FedProx's objective; then mean − h/α = θ + δ + δ.
    once = Run(FedProx(strength=0.5), CLIENTS).rounds(1)
    assert float(Run(FedDyn(strength=0.5), CLIENTS).rounds(1)) == pytest.approx(2 * float(once))


def test_after_an_exact_minimisation_g_is_the_client_s_own_gradient() -> None:
    run = Run(FedDyn(strength=0.5), [replace(client, steps=200) for client in CLIENTS])
    run.rounds(2)
    start = run.model
    broadcast = run.algorithm.broadcast(run.server)
    for k, client in enumerate(run.clients):
        end = start + run.answer(k, broadcast).weighted_delta["w"]
        assert apart(run.states[k].extras["w"], client.gradient(end)) < 1e-4
        assert float(client.gradient(end).abs()) > 0.1  # so the line above is not 0 = 0


def test_with_full_participation_h_is_the_mean_of_g() -> None:
    run = Run(FedDyn(), CLIENTS)
    run.rounds(5)
    mean = torch.stack([run.states[k].extras["w"] for k in range(3)]).mean(0)
    assert apart(run.server.extras["w"], mean) < 1e-5


@pytest.mark.parametrize("cohorts", [None, ((0,), (1,))])
def test_it_ends_at_the_minimum_where_fedavg_and_fedprox_do_not(
    cohorts: tuple[tuple[int, ...], ...] | None,
) -> None:
    best = minimum(FLAT_AND_STEEP)  # 3.27
    assert apart(Run(FedDyn(strength=0.5), FLAT_AND_STEEP).rounds(40, cohorts), best) < 1e-3
    for other in (FedAvg(), FedProx(strength=0.5)):
        assert apart(Run(other, FLAT_AND_STEEP).rounds(40, cohorts), best) > 0.2


def test_each_client_of_a_cohort_counts_as_one_whatever_its_images() -> None:
    many = [replace(client, num_images=100 * (k + 1)) for k, client in enumerate(CLIENTS)]
    assert float(Run(FedDyn(), many).rounds(3)) == float(Run(FedDyn(), CLIENTS).rounds(3))


def test_a_client_without_a_step_leaves_the_minimum_where_it_is() -> None:
    # Its loss is constant; it counts in mean, h and K alike, so nothing overshoots.
    clients = [
        Quadratic((1.0,), (2.0,), steps=15, optimizer=FAST),
        Quadratic((1.0,), (9.0,), steps=0),
    ]
    run = Run(FedDyn(strength=1.0), clients)
    assert float(run.rounds(1)) == pytest.approx(1.0, abs=1e-3)  # 1/2 of 2·1, where it ends alone
    assert float(run.rounds(15)) == pytest.approx(2.0, abs=1e-3)
    assert float(run.states[1].extras["w"]) == 0


def test_without_a_regulariser_it_is_not_defined() -> None:
    with pytest.raises(InputError, match="strength=0 must be > 0"):
        FedDyn(strength=0)
