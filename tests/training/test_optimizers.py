"""Local optimisers: every setting reaches them, and one step of each is its published update."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from concilium.federation.sharing import travelling
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.mlp import MultilayerPerceptron
from concilium.training.local import train
from concilium.training.optimizers import NAMES, OptimizerSettings
from tests.worlds import exams, full_batch_step

KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def parameter() -> nn.Parameter:
    """One weight of 1 whose gradient is 0.5."""
    made = nn.Parameter(torch.ones(1, dtype=torch.float64))
    made.grad = torch.full_like(made, 0.5)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_settings_reach_the_optimizer(name: str) -> None:
    settings = OptimizerSettings(name, learning_rate=0.3, momentum=0.6, weight_decay=0.01)
    built = settings.build([parameter()])
    (group,) = built.param_groups
    assert type(built) is KINDS[name]
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.01)
    assert group.get("momentum") == (0.6 if name == "sgd" else None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # g + λw = 0.6 twice; the second step has momentum: 1 − 0.1·0.6 = 0.94, then g = 0.594,
        # v = 0.9·0.6 + 0.594 = 1.134, and 0.94 − 0.1134.
        ("sgd", 0.8266),
        # Adam's first steps are η·sign(g), decay being part of the gradient.
        ("adam", 0.8),
        # AdamW shrinks the weight by 1 − ηλ = 0.99 before each of them.
        ("adamw", (0.99 - 0.1) * 0.99 - 0.1),
    ],
)
def test_two_steps_by_hand(name: str, expected: float) -> None:
    weight = parameter()
    settings = OptimizerSettings(name, learning_rate=0.1, momentum=0.9, weight_decay=0.1)
    optimizer = settings.build([weight])
    optimizer.step()
    optimizer.step()
    assert weight.item() == pytest.approx(expected, abs=1e-4)


def test_clipping_bounds_a_step_also_with_a_gradient_term() -> None:
    """A term of 100 for each of the 90 parameters is clipped with the rest of the gradient."""
    network = MultilayerPerceptron(hidden=(8,)).build((5,), 3, 0)
    before = travelling(network)
    settings = replace(full_batch_step(1.0), clip_norm=1e-3)
    train(
        network,
        exams(50, 1),
        BinaryCrossEntropy(),
        settings,
        torch.Generator().manual_seed(0),
        lambda parameters: {n: torch.full_like(p, 100.0) for n, p in parameters.items()},
    )
    assert (travelling(network) - before).norm() == pytest.approx(1e-3, rel=1e-3)


def test_it_trains_in_training_mode_whatever_the_mode_before() -> None:
    network = MultilayerPerceptron(hidden=(8,)).build((5,), 3, 0).eval()
    modes: list[bool] = []
    network.encoder.register_forward_hook(lambda module, *_: modes.append(module.training))
    generator = torch.Generator().manual_seed(0)
    train(network, exams(50, 1), BinaryCrossEntropy(), full_batch_step(0.1), generator)
    assert modes == [True]
