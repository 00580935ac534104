"""What methods send, counted in a small federation: 4 hospitals, 20 features, 5 labels."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.messages import Broadcast, Update, total
from concilium.federation.requests import Request, StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.mlp import MultilayerPerceptron
from concilium.orchestration.phases import asking
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries

NUM_FEATURES, NUM_LABELS, ROUNDS = 20, 5, 3


def algorithm_bytes(name: str) -> str:
    """Bytes down and up of the last of three rounds, in units of the model's."""
    algorithm: Algorithm = components.build("algorithms", name)
    runtime = _federation(algorithm)
    model = travelling(runtime.members[0].network)
    statistics = asking(runtime)(StatisticsRequest())
    server = ServerState(0, model, len(runtime.clients), label_statistics=statistics)
    for _ in range(ROUNDS):
        broadcast = algorithm.broadcast(server)
        updates = list(runtime.train(broadcast, runtime.clients))
        server = algorithm.server_update(server, total(updates, runtime.clients))
    down, up = _down(broadcast) / model.num_bytes(), _up(updates[0][1]) / model.num_bytes()
    return (
        f"{down:.2f} models down and {up:.2f} up for each hospital and round "
        f"({sum(t.numel() for t in model.values()):,} parameters, {NUM_LABELS} labels)."
    )


def head_bytes(name: str) -> str:
    """Exchanges and bytes up of a head with its default settings."""
    runtime = _federation(FedAvg())
    sent: list[int] = []

    def ask(request: Request[Any]) -> Any:
        answers = [(client.name, request.answer(client)) for client in runtime.members]
        sent.append(_size(answers[0][1]))
        return total(answers, runtime.clients)

    model = travelling(runtime.members[0].network)
    components.build("heads", name).solve(ask, model)
    width = model["head.weight"].shape[1]
    return (
        f"{len(sent)} exchanges of sums, {sum(sent) / 1e3:,.0f} kB up from each hospital in all, "
        f"the largest {max(sent) / 1e3:,.0f} kB ({width} features, {NUM_LABELS} labels)."
    )


def _federation(algorithm: Algorithm) -> Simulation:
    network = MultilayerPerceptron(hidden=(16,)).build((NUM_FEATURES,), NUM_LABELS, 0)
    training = LocalTraining(1, 16, OptimizerSettings("sgd", 0.05))
    clients = tuple(
        Client(f"hospital-{k}", _parts(k), network, BinaryCrossEntropy(), training, 0)
        for k in range(4)
    )
    return InProcess().over(clients, algorithm, ByKnownEntries())


@cache
def _parts(hospital: int) -> dict[str, Exams]:
    generator = np.random.default_rng(hospital)
    rule = np.random.default_rng(99).normal(size=(NUM_FEATURES, NUM_LABELS))

    def part(num: int) -> Exams:
        images = generator.normal(size=(num, NUM_FEATURES)).astype(np.float32)
        target = (images @ rule + generator.logistic(size=(num, NUM_LABELS)) > 1).astype(np.float32)
        return Exams(images, target, np.ones_like(target) > 0, np.arange(num))

    return {"train": part(64), "validation": part(32)}


def _down(broadcast: Broadcast) -> int:
    return broadcast.model.num_bytes() + broadcast.extras.num_bytes()


def _up(update: Update) -> int:
    return sum(t.num_bytes() for t in (update.weighted_delta, update.weight, update.extras))


def _size(answer: Any) -> int:
    """Bytes of all numbers in an answer."""
    if isinstance(answer, torch.Tensor):
        return answer.numel() * answer.element_size()
    if isinstance(answer, np.ndarray):
        return answer.nbytes
    if is_dataclass(answer):
        return sum(_size(getattr(answer, field.name)) for field in fields(answer))
    return 8 if isinstance(answer, int | float) else 0
