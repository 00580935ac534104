"""What a federated run costs: its time over a bare loop, and its memory for 5 and for 50 clients.

    python benchmarks/federation.py

(a) Time: the rounds of a study (statistics, cohorts, updates, sums, digests, a checkpoint a round)
over a loop written plainly that takes the same gradient steps: one network, the same batches, an
average by known entries. The two run in turn; the median of the ratios is printed.
(b) Memory: the peak resident memory of a process that runs the same exams as 5 clients and as 50.

Exits with 1 where a target is missed: (a) 1.05, (b) 10 %.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _memory import OPTION, growth, peak_megabytes, print_own_peak

from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.networks.small_cnn import SmallCNN
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries

NUM_EXAMS, SIDE, NUM_LABELS, BATCH, ROUNDS = 2000, 64, 14, 32, 2
RATE, MOMENTUM = 0.05, 0.9
ALTERNATIONS = 5
TIME_TARGET, MEMORY_TARGET = 1.05, 0.10


def hospitals(num_clients: int) -> list[Exams]:
    """The same exams of noise, dealt out to so many clients."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (NUM_EXAMS, SIDE, SIDE), dtype=np.uint8)
    target = (generator.random((NUM_EXAMS, NUM_LABELS)) < 0.1).astype(np.float32)
    known = np.ones((NUM_EXAMS, NUM_LABELS), np.bool_)
    rows = np.array_split(np.arange(NUM_EXAMS), num_clients)
    return [Exams(images[r], target[r], known[r], r) for r in rows]


def network() -> Network:
    """The network of both."""
    return SmallCNN().build((1, SIDE, SIDE), NUM_LABELS, 0)


def federated(parts: list[Exams], folder: Path) -> NamedTensors:
    """The rounds as a study runs them; nothing is looked at in between, a checkpoint is kept."""
    worker = network()
    training = LocalTraining(1, BATCH, OptimizerSettings("sgd", RATE, MOMENTUM))
    clients = tuple(
        Client(f"hospital-{k}", {"train": own}, worker, BinaryCrossEntropy(), training, 0)
        for k, own in enumerate(parts)
    )
    algorithm = FedAvg()
    runtime = InProcess().over(clients, algorithm, ByKnownEntries())
    progress = Progress(ServerState(0, travelling(worker), len(clients)))
    end = run_rounds(
        progress,
        Schedule(ROUNDS),
        algorithm,
        runtime,
        lambda model: {},
        Checkpoints(folder, "benchmark"),
        silent,
    )
    return end.server.model


def bare(parts: list[Exams]) -> dict[str, torch.Tensor]:
    """The same gradient steps, written plainly: one network, reused; channels last as ours."""
    worker = network()
    shared = {name: p.detach().clone() for name, p in worker.named_parameters()}
    for round_ in range(ROUNDS):
        mean = {name: torch.zeros_like(tensor) for name, tensor in shared.items()}
        for k, own in enumerate(parts):
            one_client(worker, shared, own, round_ * len(parts) + k)
            for name, parameter in worker.named_parameters():
                mean[name] += parameter.detach() * (len(own) / NUM_EXAMS)
        shared = mean
    return shared


def one_client(worker: Network, shared: dict[str, torch.Tensor], own: Exams, seed: int) -> None:
    """One epoch over a client's exams."""
    with torch.no_grad():
        for name, parameter in worker.named_parameters():
            parameter.copy_(shared[name])
    worker.train()
    optimizer = torch.optim.SGD(worker.parameters(), lr=RATE, momentum=MOMENTUM)
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed)).numpy()
    for start in range(0, len(own), BATCH):
        rows = order[start : start + BATCH]
        image = torch.from_numpy(own.images[rows]).float().div(127.5).sub(1).unsqueeze(1)
        logits = worker(image.contiguous(memory_format=torch.channels_last))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(own.target[rows])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def seconds(work: object, *arguments: object) -> float:
    """Wall time of a call."""
    assert callable(work)
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def time_ratio() -> float:
    """Median over alternations of federated over bare, printed with its spread."""
    parts = hospitals(5)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        federated(parts, Path(folder) / "warm")
        bare(parts)
        for turn in range(ALTERNATIONS):
            ours = seconds(federated, copy.copy(parts), Path(folder) / str(turn))
            ratios.append(ours / seconds(bare, parts))
    median = statistics.median(ratios)
    print(
        f"time, federated over bare loop: {median:.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f}, {ALTERNATIONS} alternations; "
        f"target at most {TIME_TARGET})"
    )
    return median


def memory_growth() -> float:
    """Relative growth of the peak from 5 to 50 clients, printed."""
    few, many = (peak_megabytes(__file__, number) for number in (5, 50))
    return growth("the same exams", ("5 clients", few), ("50", many), MEMORY_TARGET)


def main() -> int:
    """Measure both, or (in a process of its own) the memory of one run."""
    torch.set_num_threads(1)
    if OPTION in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            federated(hospitals(int(sys.argv[-1])), Path(folder))
        print_own_peak()
        return 0
    slow, large = time_ratio() > TIME_TARGET, memory_growth() > MEMORY_TARGET
    return int(slow or large)


if __name__ == "__main__":
    sys.exit(main())
