"""In the real training loop, too: who corrects for drift ends where the common gradient is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from concilium.algorithms._drift import pull, remembered
from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.feddyn import FedDyn
from concilium.algorithms.fedprox import FedProx
from concilium.algorithms.scaffold import Scaffold
from concilium.data.dataset import Exams
from concilium.federation.messages import total
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from tests.worlds import exams, linear_network, runtime

EIGHT_FULL_BATCH_STEPS = LocalTraining(8, 1000, OptimizerSettings("sgd", 0.8))


def hospitals() -> dict[str, dict[str, Exams]]:
    """Two hospitals of equal size, all known; features of one are three times as strong."""
    parts = {name: {"train": exams(40, seed, known=1.1)} for name, seed in (("a", 1), ("b", 2))}
    parts["b"]["train"].images[:] *= 3
    return parts


def common_gradient(model: NamedTensors, parts: dict[str, dict[str, Exams]]) -> float:
    """Norm of the gradient of the plain mean of both hospitals' BCE, in NumPy."""
    weight, bias = (model[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    found = np.zeros((weight.shape[0], weight.shape[1] + 1))
    for own in parts.values():
        images = np.asarray(own["train"].images, np.float64)
        residual = 1 / (1 + np.exp(-(images @ weight.T + bias))) - own["train"].target
        extended = np.concatenate([images, np.ones((len(images), 1))], axis=1)
        found += residual.T @ extended / residual.size / len(parts)
    return float(np.linalg.norm(found))


def after_rounds(algorithm: Algorithm, number: int) -> float:
    """The common gradient's norm after some rounds, in units of that at the start."""
    parts = hospitals()
    own = runtime(parts, EIGHT_FULL_BATCH_STEPS, algorithm=algorithm)
    model = travelling(linear_network(parts))
    server = ServerState(0, model, 2)
    for _ in range(number):
        replies = own.train(algorithm.broadcast(server), own.clients)
        server = algorithm.server_update(server, total(replies, own.clients))
    return common_gradient(server.model, parts) / common_gradient(model, parts)


def test_with_fedavg_the_common_gradient_stays() -> None:
    assert after_rounds(FedAvg(), 10) > 0.08
    assert after_rounds(FedProx(strength=0.1), 10) > 0.08


@pytest.mark.parametrize("algorithm", [Scaffold(), FedDyn(strength=0.1)])
def test_with_a_correction_it_goes_to_zero(algorithm: Algorithm) -> None:
    assert after_rounds(algorithm, 18) < 0.01


def test_a_term_is_where_the_network_computes() -> None:
    # The meta device stands for any that is not the CPU: mixing the two is an error.
    model = NamedTensors({"a": torch.ones(2)})
    term = pull(model, 2.0, push=model)
    assert term is not None
    added = term({"a": torch.empty(2, device="meta")})["a"]
    assert added.device.type == "meta" and added.shape == (2,)
    assert term({"a": torch.zeros(2)})["a"].tolist() == [-1.0, -1.0]  # 2 (0 − 1) + 1


def test_there_is_no_term_where_there_is_nothing_to_add() -> None:
    model = NamedTensors({"a": torch.ones(2)})
    assert pull(model, 0.0) is None
    assert remembered(NamedTensors({}), model)["a"].tolist() == [0.0, 0.0]
    assert remembered(model, model) is model
