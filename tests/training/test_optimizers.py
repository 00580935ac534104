"""Local optimisers: every setting reaches them, and one step of each is its published update."""

from __future__ import annotations

import math
import subprocess
import sys
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


def of_torch(settings: OptimizerSettings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """What the settings mean: the class of torch by that name."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.name == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(parameters, lr=rate, weight_decay=decay)


def parameter() -> nn.Parameter:
    """One weight of 1 whose gradient is 0.5."""
    made = nn.Parameter(torch.ones(1, dtype=torch.float64))
    made.grad = torch.full_like(made, 0.5)
    return made


def weights() -> list[nn.Parameter]:
    """Matrices and images' kernels; the latter as they lie where channels come last."""
    generator = torch.Generator().manual_seed(0)
    kernels = torch.randn(4, 3, 3, 3, generator=generator)
    return [
        nn.Parameter(torch.randn(5, 7, generator=generator)),
        nn.Parameter(kernels.to(memory_format=torch.channels_last)),
        nn.Parameter(torch.randn(6, generator=generator)),
    ]


@pytest.mark.slow  # to build an optimiser of torch imports its compiler
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", NAMES)
def test_its_steps_are_those_of_torch_to_the_bit(name: str, decay: float, momentum: float) -> None:
    """In the second of five steps one parameter has no gradient: it stays, and ages by no step."""
    settings = OptimizerSettings(name, 0.03, momentum, decay)
    ours, theirs = weights(), weights()
    optimizers = settings.build(ours), of_torch(settings, theirs)
    generator = torch.Generator().manual_seed(1)
    for step in range(5):
        gradients = [torch.randn(own.shape, generator=generator) for own in ours]
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            for place, own in enumerate(parameters):
                own.grad = None if (step, place) == (1, 0) else gradients[place].clone()
            optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_forgotten_and_a_step_without_any_moves_nothing(name: str) -> None:
    weight = parameter()
    optimizer = OptimizerSettings(name, weight_decay=0.1).build([weight])
    optimizer.zero_grad()
    assert weight.grad is None
    optimizer.step()
    assert weight.item() == 1


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


def published(name: str, gradients: list[float]) -> list[float]:
    """A weight of 1 after each step of size 0.1, with momentum 0.6 (SGD), by the papers' loops."""
    weight, first, second, seen = 1.0, 0.0, 0.0, []
    for step, gradient in enumerate(gradients, start=1):
        if name == "sgd":
            first = 0.6 * first + gradient
            weight -= 0.1 * first
        else:
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            corrected = math.sqrt(second / (1 - 0.999**step))
            weight -= 0.1 * first / (1 - 0.9**step) / (corrected + 1e-8)
        seen.append(weight)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_memory_of_gradients_is_the_published_one(name: str) -> None:
    """Gradients that turn: with one that stays, Adam's first steps do not depend on its memory."""
    gradients = [0.5, -0.25, 2.0, 0.0]
    weight = parameter()
    optimizer = OptimizerSettings(name, learning_rate=0.1, momentum=0.6).build([weight])
    for gradient, expected in zip(gradients, published(name, gradients), strict=True):
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
        assert weight.item() == pytest.approx(expected, rel=1e-12)


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


@pytest.mark.slow
def test_training_imports_no_compiler() -> None:
    """torch.optim.SGD, built once, imports it: 1 to 2 seconds of every process."""
    program = (
        "import sys, torch\nfrom concilium.training.optimizers import NAMES, OptimizerSettings\n"
        "for name in NAMES:\n"
        "    weight = torch.nn.Parameter(torch.zeros(1))\n"
        "    optimizer = OptimizerSettings(name, momentum=0.5).build([weight])\n"
        "    weight.sum().backward(); optimizer.step(); optimizer.zero_grad()\n"
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
