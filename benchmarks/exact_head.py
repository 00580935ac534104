"""What the exact heads cost: seconds, exchanges and bytes, for the exams of five hospitals.

    python benchmarks/exact_head.py [head ...]

Five hospitals hold 5,000 training and 1,000 validation exams each: 512 encoder outputs and 14
labels, whose prevalence falls from 30 % to 0.3 %. Each head is solved with its default settings,
choice of the penalty included, on the CPU with two threads. A line a head: seconds, exchanges,
bytes that one hospital sends in an exchange (the largest) and in all.

Exits with 1 where newton takes more than 60 seconds.
"""

from __future__ import annotations

import sys
import time
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.messages import total
from concilium.federation.requests import Request
from concilium.federation.sharing import travelling
from concilium.foundation import components
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.linear import Linear
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries

NUM_HOSPITALS, NUM_TRAIN, NUM_VALIDATION = 5, 5000, 1000
NUM_FEATURES, NUM_LABELS, NUM_LATENT = 512, 14, 64
HEADS = ("newton", "ridge", "balanced_ridge")
TARGET_SECONDS = 60.0


def exams(num: int, seed: int) -> Exams:
    """Features like an encoder's (rectified, correlated), labels logistic in what lies behind."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    mixing = shared.normal(size=(NUM_LATENT, NUM_FEATURES)) / NUM_LATENT**0.5
    rule = shared.normal(size=(NUM_LATENT, NUM_LABELS)) / NUM_LATENT**0.5 * 1.5
    latent = own.normal(size=(num, NUM_LATENT))
    noise = own.normal(size=(num, NUM_FEATURES))
    features = np.maximum(latent @ mixing + 0.5 * noise, 0).astype(np.float32)
    prevalence = np.geomspace(0.3, 0.003, NUM_LABELS)
    score = latent @ rule + 1.3 * np.log(prevalence / (1 - prevalence))
    target = (score + own.logistic(size=score.shape) > 0).astype(np.float32)
    return Exams(features, target, np.ones(target.shape, np.bool_), np.arange(num))


def federation() -> Simulation:
    """Five hospitals with a linear network: its encoder gives the features as they are."""
    network = Linear().build((NUM_FEATURES,), NUM_LABELS, 0)
    training = LocalTraining(1, 32, OptimizerSettings("sgd", 0.1))
    clients = []
    for k in range(NUM_HOSPITALS):
        parts = {
            "train": exams(NUM_TRAIN, 2 * k + 1),
            "validation": exams(NUM_VALIDATION, 2 * k + 2),
        }
        client = Client(f"hospital-{k}", parts, network, BinaryCrossEntropy(), training, 0)
        clients.append(client)
    return InProcess().over(tuple(clients), FedAvg(), ByKnownEntries())


def num_bytes(answer: Any) -> int:
    """Bytes of all numbers in an answer."""
    if isinstance(answer, torch.Tensor):
        return answer.numel() * answer.element_size()
    if is_dataclass(answer):
        return sum(num_bytes(getattr(answer, field.name)) for field in fields(answer))
    return 8


def measure(name: str, runtime: Simulation) -> float:
    """Seconds of one head; its line is printed."""
    sent: list[int] = []

    def ask(request: Request[Any]) -> Any:
        answers = [(client.name, request.answer(client)) for client in runtime.members]
        sent.append(num_bytes(answers[0][1]))
        return total(answers, runtime.clients)

    model = travelling(runtime.members[0].network)
    started = time.perf_counter()
    solved = components.build("heads", name).solve(ask, model)
    seconds = time.perf_counter() - started
    print(
        f"{name:<18}{seconds:8.1f}{len(sent):11d}{max(sent) / 1e6:16.2f}{sum(sent) / 1e6:14.1f}"
        f"   {solved.report}",
        flush=True,
    )
    return seconds


def main() -> int:
    torch.set_num_threads(min(2, torch.get_num_threads()))
    runtime = federation()
    positives = sum(client.parts["train"].target.sum(0) for client in runtime.members)
    print(f"positives by label: {[int(count) for count in positives]}")
    print(f"{'head':<18}{'seconds':>8}{'exchanges':>11}{'MB an exchange':>16}{'MB in all':>14}")
    seconds = {name: measure(name, runtime) for name in sys.argv[1:] or HEADS}
    return 1 if seconds.get("newton", 0.0) > TARGET_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
