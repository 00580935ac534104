"""Small made-up federations for tests: features, a few labels, some of them not annotated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.messages import Update
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.networks.linear import Linear
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.contract import Weighting


def exams(
    num: int, seed: int, num_features: int = 5, num_labels: int = 3, known: float = 0.8
) -> Exams:
    """Exams whose labels follow a fixed linear rule with noise; some entries are unknown."""
    rule = np.random.default_rng(1234).normal(size=(num_features, num_labels))
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(num, num_features)).astype(np.float32)
    noise = generator.logistic(size=(num, num_labels))
    target = (images @ rule + noise > 0.5).astype(np.float32)
    mask = generator.random((num, num_labels)) < known
    return Exams(images, target, mask, np.arange(num) + 100_000 * seed)


def joined(parts: list[Exams]) -> Exams:
    """The same exams in one place."""
    return Exams(
        np.concatenate([np.asarray(p.images) for p in parts]),
        np.concatenate([p.target for p in parts]),
        np.concatenate([p.known for p in parts]),
        np.concatenate([p.patient for p in parts]),
    )


def hospital_parts(sizes: tuple[int, ...], num_labels: int = 3) -> dict[str, dict[str, Exams]]:
    """Train, validation and test parts of hospitals of these training sizes."""
    return {
        f"hospital-{k}": {
            "train": exams(size, 10 * k + 1, num_labels=num_labels),
            "validation": exams(max(8, size // 3), 10 * k + 2, num_labels=num_labels),
            "test": exams(max(8, size // 3), 10 * k + 3, num_labels=num_labels),
        }
        for k, size in enumerate(sizes)
    }


def full_batch_step(learning_rate: float) -> LocalTraining:
    """One step of plain gradient descent on all of a client's exams."""
    return LocalTraining(1, 1_000_000, OptimizerSettings("sgd", learning_rate))


def runtime(
    parts: dict[str, dict[str, Exams]],
    training: LocalTraining | None = None,
    loss: Loss | None = None,
    algorithm: Algorithm | None = None,
    weighting: Weighting | None = None,
    seed: int = 0,
) -> Simulation:
    """All hospitals in this process, with a linear network."""
    network = linear_network(parts)
    training = training or LocalTraining(1, 16, OptimizerSettings("sgd", 0.1))
    loss = loss or BinaryCrossEntropy()
    clients = tuple(Client(name, own, network, loss, training, seed) for name, own in parts.items())
    return InProcess().over(clients, algorithm or FedAvg(), weighting or ByKnownEntries())


def linear_network(parts: dict[str, dict[str, Exams]], seed: int = 0) -> Network:
    """A linear network for the features and labels of these hospitals."""
    first = next(iter(parts.values()))["train"]
    return Linear().build(first.images.shape[1:], first.target.shape[1], seed)


def with_labels_permuted(
    parts: dict[str, dict[str, Exams]], order: list[int]
) -> dict[str, dict[str, Exams]]:
    """The same exams with their label columns in another order."""
    return {
        name: {
            part: replace(own, target=own.target[:, order], known=own.known[:, order])
            for part, own in hospital.items()
        }
        for name, hospital in parts.items()
    }


def close(left: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    """Whether two tensors differ by at most the tolerance anywhere."""
    return bool((left - right).abs().max() <= tolerance)


def in_float64(update: Update) -> Update:
    """The same update in float64, as the server adds it up."""
    parts = (update.weighted_delta, update.weight, update.extras)
    wide = (part.map(torch.Tensor.double) for part in parts)
    return Update(*wide, update.num_clients, update.loss, update.loss_weight, update.num_bytes)
