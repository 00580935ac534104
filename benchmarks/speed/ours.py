"""concilium's own rounds, through its library, as a study runs them.

    python benchmarks/speed/ours.py parallel|in_process

In the time of the first round: label statistics of all clients, summed and bound to the loss. In
that of every round: the cohort, batches made from uint8 images, local training, updates weighted by
images and added up in float64 in a fixed order, bytes counted, the model checked to be finite, its
SHA-256. As in a study, the process keeps the memory that a step frees. Left out, as in the runners
beside it: evaluation and checkpoints.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from workload import (
    BATCH,
    CLIENTS,
    FEATURES,
    LABELS,
    RATE,
    ROUNDS,
    SEED,
    WORKERS,
    Clock,
    client_name,
    encoder,
    pixels_and_targets,
    report,
)

from concilium import __version__
from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import load, travelling
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks._building import in_channels_last
from concilium.networks.contract import Network
from concilium.orchestration.checkpoints import Progress
from concilium.orchestration.observers import Observer, silent
from concilium.orchestration.phases import asking
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.contract import LocalRuntime
from concilium.runtimes.in_process import InProcess
from concilium.runtimes.parallel import Parallel
from concilium.training.local import LocalTraining
from concilium.training.memory import keep_freed_memory
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages

RUNTIMES = {"parallel": Parallel(workers=WORKERS), "in_process": InProcess()}


def cnn() -> Network:
    """The workload's network, as ours are stored: kernels with the channel last."""
    torch.manual_seed(SEED)
    return in_channels_last(Network(encoder(), FEATURES, LABELS))


def hospital(number: int, exams: Exams, network: Network, batch: int = BATCH) -> Client:
    """A client that trains on these exams."""
    training = LocalTraining(1, batch, OptimizerSettings("sgd", RATE))
    parts = {"train": exams}
    return Client(client_name(number), parts, network, BinaryCrossEntropy(), training, SEED)


def hospitals(network: Network) -> list[Client]:
    """The workload's clients; every label is known, every image is another patient's."""
    pixels, targets = pixels_and_targets()
    patients = np.arange(pixels.shape[1])
    return [
        hospital(k, Exams(pixels[k], targets[k], targets[k] >= 0, patients), network)
        for k in range(CLIENTS)
    ]


def rounds(
    how: LocalRuntime, members: list[Client], number: int, observer: Observer = silent
) -> NamedTensors:
    """The model after so many rounds, the statistics before them included."""
    algorithm = FedAvg()
    runtime = how.over(members, algorithm, ByImages())
    statistics = asking(runtime)(StatisticsRequest())
    model = travelling(members[0].network)
    start = Progress(ServerState(0, model, len(members), label_statistics=statistics))
    plan = Schedule(number)
    end = run_rounds(start, plan, algorithm, runtime, lambda model: {}, None, observer)
    return end.server.model


def main(runtime: str) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    network = cnn()
    members = hospitals(network)
    clock = Clock()
    model = rounds(RUNTIMES[runtime], members, ROUNDS, lambda event: clock())
    load(network, model)
    report(clock.rounds, network, concilium=__version__, digest=model.digest())


if __name__ == "__main__":
    main(sys.argv[1])
