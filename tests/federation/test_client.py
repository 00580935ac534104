"""A client: its random numbers are its own, its scores are the loss's, its features are fresh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.federation.client import Client
from concilium.federation.messages import total
from concilium.federation.requests import BootstrapRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.losses.softmax import Softmax
from concilium.networks.contract import Network
from concilium.networks.mlp import MultilayerPerceptron
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from tests.worlds import exams, hospital_parts, linear_network, runtime

PARTS = hospital_parts((60, 40))


def client(
    network: Network | None = None, name: str = "a", seed: int = 0, loss: Loss | None = None
) -> Client:
    """One hospital that trains in mini-batches, so that their order shows in its model."""
    training = LocalTraining(1, 8, OptimizerSettings("sgd", 0.3))
    network = network or linear_network(PARTS)
    loss = loss or BinaryCrossEntropy()
    return Client(name, PARTS["hospital-0"], network, loss, training, seed)


def perceptron() -> Network:
    return MultilayerPerceptron(hidden=(8,)).build((5,), 3, 0)


def test_the_order_of_batches_depends_on_seed_round_and_name() -> None:
    model = travelling(linear_network(PARTS))

    def digest(own: Client, round_: int) -> str:
        return own.train(model, round_, own.loss)[0].digest()

    assert digest(client(), 1) == digest(client(), 1)
    found = [
        digest(client(), 1),
        digest(client(), 2),
        digest(client(name="b"), 1),
        digest(client(seed=1), 1),
    ]
    assert len(set(found)) == 4


def test_scores_are_those_of_the_loss() -> None:
    """Softmax's scores are log-odds of its classes, not the network's outputs."""
    own, model = client(loss=Softmax()), travelling(linear_network(PARTS))
    images = torch.from_numpy(np.asarray(PARTS["hospital-0"]["test"].images))
    logits = images @ model["head.weight"].T + model["head.bias"]
    expected = Softmax().scores(logits).numpy()
    np.testing.assert_allclose(own.scores(model, "test"), expected, atol=1e-6)
    assert np.abs(expected - logits.numpy()).max() > 0.1


def test_features_follow_the_encoder_and_are_kept_while_it_stays() -> None:
    own = client(perceptron())
    calls: list[None] = []
    model = travelling(own.network)
    own.network.encoder.register_forward_hook(lambda *_: calls.append(None))
    first = own.features(model, "test").copy()
    moved = NamedTensors({n: t if n.startswith("head.") else t + 0.5 for n, t in model.items()})
    assert np.abs(own.features(moved, "test") - first).max() > 0.1
    np.testing.assert_array_equal(own.features(model, "test"), first)
    assert len(calls) == 3
    head = NamedTensors({n: t + 1 if n.startswith("head.") else t for n, t in model.items()})
    np.testing.assert_array_equal(own.features(head, "test"), first)
    assert len(calls) == 3  # only the head has changed


def test_features_of_one_part_are_not_those_of_another() -> None:
    own = client()
    model = travelling(own.network)
    for part, held in own.parts.items():  # a linear network encodes features as they are
        np.testing.assert_array_equal(own.features(model, part), np.asarray(held.images))


def test_it_trains_in_training_mode_and_encodes_in_evaluation_mode() -> None:
    """Dropout and normalisation layers behave differently in the two."""
    own = client(perceptron())
    modes: list[bool] = []
    model = travelling(own.network)
    own.network.encoder.register_forward_hook(lambda module, *_: modes.append(module.training))
    own.features(model, "test")
    assert set(modes) == {False}
    modes.clear()
    own.train(model, 0, own.loss)
    assert set(modes) == {True}
    modes.clear()
    own.features(model, "validation")
    assert set(modes) == {False}


def test_every_hospital_draws_its_own_patients() -> None:
    """Two hospitals of equal exams: one seed for both would draw their patients in step."""
    part = exams(40, 1)
    twins = {name: {"train": part, "test": part} for name in ("a", "b")}
    request = BootstrapRequest(travelling(linear_network(twins)), "test", 3, 0)
    answers = dict(runtime(twins).ask(request, ("a", "b")))
    assert not np.array_equal(answers["a"].positives, answers["b"].positives)
    other = dict(runtime(twins).ask(replace(request, seed=1), ("a", "b")))
    assert not np.array_equal(answers["a"].positives, other["a"].positives)


def test_the_mean_training_loss_is_a_mean_over_known_entries() -> None:
    """One full batch each: the clients' mean losses, weighted as on their pooled exams."""
    parts = hospital_parts((40, 40))
    parts["hospital-1"]["train"].known[:, 1:] = False
    settings = LocalTraining(1, 1000, OptimizerSettings("sgd", 0.1))
    own = runtime(parts, settings, weighting=ByImages())
    model = travelling(linear_network(parts))
    broadcast = FedAvg().broadcast(ServerState(0, model, 1))
    summed = total(own.train(broadcast, own.clients), own.clients)
    loss, entries = 0.0, 0
    for hospital in parts.values():
        train = hospital["train"]
        images = torch.from_numpy(np.asarray(train.images))
        logits = images @ model["head.weight"].T + model["head.bias"]
        target, known = torch.from_numpy(train.target), torch.from_numpy(train.known)
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, target, reduction="none"
        )
        loss, entries = loss + float(each[known].sum()), entries + int(known.sum())
    assert abs(summed.mean_loss() - loss / entries) < 1e-6
