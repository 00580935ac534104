"""MOON: Eq. 3 by hand, FedAvg as its special case, features nearer to the global model's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.moon import Moon, model_contrast
from concilium.federation.client import Client
from concilium.federation.sharing import Sharing, private, travelling
from concilium.federation.states import ClientState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.mlp import MultilayerPerceptron
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from tests.algorithms.federations import rounds
from tests.worlds import hospital_parts, linear_network, runtime

PARTS = hospital_parts((40, 30, 50))


def perceptrons(algorithm: Moon | FedAvg, epochs: int = 1, sharing: Sharing = "all") -> Simulation:
    """Three hospitals with a network whose encoder trains."""
    network = MultilayerPerceptron(hidden=(8,)).build((5,), 3, 0)
    training = LocalTraining(epochs, 16, OptimizerSettings("sgd", 0.3))
    loss, home = BinaryCrossEntropy(), private(network, sharing)
    clients = tuple(
        Client(name, own, network, loss, training, 0, sharing=sharing, private=home)
        for name, own in PARTS.items()
    )
    return InProcess().over(clients, algorithm, ByImages())


def start(run: Simulation) -> NamedTensors:
    return travelling(run.members[0].network, run.members[0].sharing)


def test_without_strength_it_is_fedavg_bit_for_bit() -> None:
    plain, none = perceptrons(FedAvg()), perceptrons(Moon(strength=0))
    model = start(plain)
    expected = rounds(plain, model, 3).model.digest()
    assert rounds(none, model, 3).model.digest() == expected
    assert not none.client_states
    assert rounds(perceptrons(Moon()), model, 3).model.digest() != expected


def test_equation_3_by_hand() -> None:
    """z = (3, 4): cosine 0.6 with (1, 0), 0.8 with (0, 2); at τ = 0.5 it is log(1 + e^0.4)."""
    z = torch.tensor([[3.0, 4.0]])
    here, there = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    nearer_to_last = float(model_contrast(z, here, there, 0.5))
    expected = -math.log(math.exp(0.6 / 0.5) / (math.exp(0.6 / 0.5) + math.exp(0.8 / 0.5)))
    assert abs(nearer_to_last - expected) < 1e-6
    nearer_to_global = float(model_contrast(z, there, here, 0.5))
    assert abs(nearer_to_global - math.log(1 + math.exp(-0.4))) < 1e-6


def test_where_global_and_last_model_agree_it_is_log_2_without_a_gradient() -> None:
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    same = torch.ones(4, 3)
    each = model_contrast(z, same, same, 0.5)
    assert torch.allclose(each, torch.full((4,), math.log(2.0)))
    (gradient,) = torch.autograd.grad(each.sum(), z)
    assert float(gradient.abs().max()) < 1e-6


def test_the_first_round_of_a_client_is_that_of_fedavg() -> None:
    model = start(perceptrons(FedAvg()))
    cohorts = [("hospital-0",), ("hospital-1",)]  # each takes part for the first time
    first = rounds(perceptrons(FedAvg()), model, 2, cohorts)
    assert rounds(perceptrons(Moon()), model, 2, cohorts).model.digest() == first.model.digest()
    again = [("hospital-0", "hospital-1"), ("hospital-0",)]  # the mean is not its own model
    second = rounds(perceptrons(FedAvg()), model, 2, again)
    assert rounds(perceptrons(Moon()), model, 2, again).model.digest() != second.model.digest()


def test_the_term_changes_the_model_from_the_second_round_on() -> None:
    """All hospitals in every round, a perceptron, and a sharing rule of either kind."""
    rules: tuple[Sharing, ...] = ("all", "all_but_normalisation")
    for sharing in rules:
        plain, contrast = perceptrons(FedAvg(), 1, sharing), perceptrons(Moon(5.0), 1, sharing)
        first = rounds(plain, start(plain))
        same = rounds(contrast, start(contrast))
        assert same.model.digest() == first.model.digest()
        apart = rounds(contrast, same).model - rounds(plain, first).model
        assert apart.norm() > 0.01


def test_one_step_adds_the_gradient_of_the_mean_contrast() -> None:
    """Full batch, one step: the delta differs from FedAvg's by −η μ times the term's gradient."""
    parts = PARTS["hospital-0"]
    network = MultilayerPerceptron(hidden=(8,)).build((5,), 3, 0)
    model = travelling(network)
    last = model.map(lambda t: t + 0.3 * torch.arange(t.numel()).reshape(t.shape).sin())
    step = LocalTraining(1, 1000, OptimizerSettings("sgd", 0.5))
    own = Client("a", parts, network, BinaryCrossEntropy(), step, 0)
    found = {}
    for name, algorithm in {"fedavg": FedAvg(), "moon": Moon(2.0, 0.7)}.items():
        run = InProcess().over((own,), algorithm, ByImages())
        run.restore({"a": ClientState(extras=last)})
        found[name] = rounds(run, model).model["encoder.1.weight"]
    weights = {n: t.clone().requires_grad_() for n, t in model.items()}
    images = torch.from_numpy(np.asarray(parts["train"].images))
    z, z_glob, z_prev = (_encoded(w, images) for w in (weights, model, last))
    numbers = []
    for i in range(len(images)):
        to_glob = z[i] @ z_glob[i] / (z[i].norm() * z_glob[i].norm())
        to_prev = z[i] @ z_prev[i] / (z[i].norm() * z_prev[i].norm())
        both = (to_glob / 0.7).exp() + (to_prev / 0.7).exp()
        numbers.append(-((to_glob / 0.7).exp() / both).log())
    mean = torch.stack(numbers).mean()
    (gradient,) = torch.autograd.grad(2.0 * mean, weights["encoder.1.weight"])
    assert float(gradient.abs().max()) > 0.01
    assert torch.allclose(found["moon"] - found["fedavg"], -0.5 * gradient, atol=1e-6)


def test_local_features_are_nearer_to_the_global_model_than_to_the_last_local_one() -> None:
    """The aim of Eq. 3; local training alone goes back to where it was the last time."""
    first = perceptrons(Moon(1e-9), epochs=2)
    before, last = rounds(first, start(first), 2), first.client_states
    nearer = {}
    for name, algorithm in {"fedavg": Moon(1e-9), "moon": Moon(5.0)}.items():
        run = perceptrons(algorithm, epochs=2)
        run.restore(last)
        rounds(run, before)
        nearer[name] = [
            _agreement(hospital, state.extras, before.model)
            - _agreement(hospital, state.extras, last[hospital].extras)
            for hospital, state in run.client_states.items()
        ]
    # Measured: FedAvg −0.029, 0.000, −0.009; MOON 0.021, 0.015, 0.021.
    assert np.mean(nearer["fedavg"]) < 0
    assert min(nearer["moon"]) > 0.01


def test_an_encoder_without_tensors_has_no_term() -> None:
    plain, contrast = runtime(PARTS), runtime(PARTS, algorithm=Moon())
    model = travelling(linear_network(PARTS))
    assert rounds(contrast, model, 3).model.digest() == rounds(plain, model, 3).model.digest()


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match="strength"):
        Moon(strength=-1)
    with pytest.raises(InputError, match="temperature"):
        Moon(temperature=0)


def _agreement(hospital: str, one: NamedTensors, other: NamedTensors) -> float:
    """Mean cosine of a hospital's features under two encoders."""
    images = torch.from_numpy(np.asarray(PARTS[hospital]["train"].images))
    return float(cosine_similarity(_encoded(one, images), _encoded(other, images)).mean())


def _encoded(weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Layer norm, linear, ReLU."""
    normal = torch.nn.functional.layer_norm(
        images, (5,), weights["encoder.0.weight"], weights["encoder.0.bias"]
    )
    return torch.relu(normal @ weights["encoder.1.weight"].T + weights["encoder.1.bias"])
