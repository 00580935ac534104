"""FedNova: what a delta is worth, FedAvg where all take equal steps, no bias where they do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fednova import FedNova, gradients_worth
from concilium.federation.sharing import travelling
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting
from tests.algorithms.quadratics import Quadratic, Run, apart, minimum
from tests.algorithms.test_fedavg import distance, one_round
from tests.worlds import hospital_parts, linear_network, runtime


@pytest.mark.parametrize("num_steps", [1, 2, 7, 40])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_the_closed_form_of_the_paper(num_steps: int, rho: float) -> None:
    """‖a‖₁ = [τ − ρ (1 − ρ^τ) / (1 − ρ)] / (1 − ρ)."""
    printed = (num_steps - rho * (1 - rho**num_steps) / (1 - rho)) / (1 - rho)
    assert gradients_worth(num_steps, rho) == pytest.approx(printed, rel=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 1.0])
def test_so_many_gradients_is_what_the_local_optimiser_makes_of_a_constant_one(rho: float) -> None:
    place = torch.nn.Parameter(torch.zeros(1))
    optimizer = OptimizerSettings("sgd", 0.125, momentum=rho).build([place])
    for _ in range(9):
        place.grad = torch.ones(1)
        optimizer.step()
    assert -float(place.detach()) == pytest.approx(0.125 * gradients_worth(9, rho), rel=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_where_all_take_equal_steps_it_is_fedavg(momentum: float) -> None:
    parts = hospital_parts((40, 36))  # five batches of 8 each
    training = LocalTraining(2, 8, OptimizerSettings("sgd", 0.1, momentum=momentum))
    model = travelling(linear_network(parts))
    plain = one_round(runtime(parts, training), model)
    assert distance(one_round(runtime(parts, training, algorithm=FedNova()), model), plain) < 1e-6
    # With 40 and 12 images, five batches and two, the two differ.
    parts = hospital_parts((40, 12))
    plain = one_round(runtime(parts, training), model)
    assert distance(one_round(runtime(parts, training, algorithm=FedNova()), model), plain) > 1e-3


def test_a_round_by_hand() -> None:
    """Gradients −1 and 2 wherever the model goes, 4 steps and 1, weights 1 and 3, η = 0.1.

    d = 0.1 and −0.2, p = 1/4 and 3/4: mean −0.125; τ_eff = 4/4 + 3/4 = 1.75; together −0.21875.
    FedAvg moves by 0.4/4 − 3·0.2/4 = −0.05.
    """
    clients = [
        Quadratic((1e-9,), (1e9,), steps=4, num_images=1),
        Quadratic((2e-9,), (-1e9,), steps=1, num_images=3),
    ]
    assert float(Run(FedNova(), clients).rounds(1)) == pytest.approx(-0.21875, rel=1e-5)
    assert float(Run(FedAvg(), clients).rounds(1)) == pytest.approx(-0.05, rel=1e-5)


@dataclass(frozen=True)
class ByRow(Weighting):
    """A client of n images weighs n in the first row and 1 in the second."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        return NamedTensors({"w": torch.tensor([float(own.num_images), 1.0])})


def test_each_row_has_effective_steps_of_its_own() -> None:
    """As above in the first row; in the second p = 1/2 each: mean −0.05, τ_eff = 2.5."""
    clients = [
        Quadratic((1e-9, 1e-9), (1e9, 1e9), steps=4, num_images=1),
        Quadratic((2e-9, 2e-9), (-1e9, -1e9), steps=1, num_images=3),
    ]
    moved = Run(FedNova(), clients, ByRow(), start=(0.0, 0.0)).rounds(1)
    assert moved.tolist() == pytest.approx([-0.21875, -0.125], rel=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_unequal_local_steps_do_not_move_where_it_ends(momentum: float) -> None:
    """FedAvg weighs each loss by its client's steps as well, and ends far from the minimum."""
    optimizer = OptimizerSettings("sgd", 0.015 * (1 - momentum), momentum=momentum)
    clients = [
        Quadratic((1.0,), (-1.0,), steps=2, optimizer=optimizer, num_images=2),
        Quadratic((1.0,), (1.0,), steps=12, optimizer=optimizer, num_images=1),
    ]
    best = minimum(clients, [2, 1])  # −1/3
    assert apart(Run(FedNova(), clients).rounds(70), best) < 0.06  # of the rate's size
    assert apart(Run(FedAvg(), clients).rounds(70), best) > 0.7


def test_a_client_without_a_step_has_no_say() -> None:
    clients = [Quadratic((1.0,), (3.0,), steps=5), Quadratic((1.0,), (9.0,), 0, num_images=50)]
    both, alone = Run(FedNova(), clients), Run(FedNova(), clients[:1])
    assert float(both.rounds(2)) == float(alone.rounds(2)) > 0
    nobody = Run(FedNova(), [replace(clients[0], steps=0)], start=(1.0,))
    assert float(nobody.rounds(2)) == 1


def test_adam_is_refused_and_momentum_is_not() -> None:
    FedNova().check(OptimizerSettings("sgd", 0.1, momentum=0.9))
    for name in ("adam", "adamw"):
        with pytest.raises(InputError, match=rf"cannot count the gradients in a step of {name}"):
            FedNova().check(OptimizerSettings(name, 0.1))
