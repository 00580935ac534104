"""Whether worker processes are worth it: a round in processes, in threads and in this process.

    python benchmarks/runtimes.py [ROUNDS]

20 hospitals of 200 exams and 14 labels, batch 32, one epoch, two workers, on three networks: an MLP
on 512 features, a label graph over it, and the small CNN on 28 pixels (uint8 images). A fourth has
10 hospitals that send back the model as it is: what a round costs beside its training.

The runtimes take their rounds in turn (one each, after one that is not counted, so processes and
threads are there). Printed is the median of the rounds with their quartiles, the median of the
ratios to ``in_process`` of the same turn, and what a round costs this process in CPU time: of the
processes it is all that does not run side by side. Two workers on two cores reach 0.5 at best.

A last line says what share of a core two processes got that did nothing but count: below about 0.9
somebody else is busy here, and wall times say little.

Exits with 1 where a target is missed: processes at most 0.75 of this process on the MLP, and at
most 20 ms a round more than this process without training. The ratio to threads is told, not asked:
an MLP's step holds the interpreter's lock for 37 % of its time (sampled, Python 3.11), the CNN's
for 9 %, so threads scale to 1 / 0.37 = 2.7 workers on the one, and to 11 on the other.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import torch

from concilium.algorithms.contract import Algorithm, LocalWork
from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.messages import Broadcast, Update, scalar_weight, total
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ClientState, ServerState
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.networks.label_graph import LabelGraphNetwork
from concilium.networks.mlp import MultilayerPerceptron
from concilium.networks.small_cnn import SmallCNN
from concilium.orchestration.phases import asking
from concilium.runtimes.contract import LocalRuntime, Simulation
from concilium.runtimes.in_process import InProcess
from concilium.runtimes.parallel import Parallel
from concilium.runtimes.processes import Processes
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.contract import Weighting

NUM_LABELS, WORKERS, ROUNDS = 14, 2, 15
OF_THIS_PROCESS, OVERHEAD_MS = 0.75, 20.0

RUNTIMES: dict[str, LocalRuntime] = {
    "in_process": InProcess(),
    "parallel": Parallel(WORKERS),
    "processes": Processes(WORKERS),
}


@dataclass(frozen=True)
class Unmoved(FedAvg):
    """Clients that do nothing: the delta is 0."""

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        return Update(
            broadcast.model.map(torch.zeros_like), scalar_weight(broadcast.model, 1)
        ), state


def exams(shape: tuple[int, ...], size: int, seed: int) -> Exams:
    """Exams of noise: uint8 images for a shape of three numbers, else features."""
    draw = np.random.default_rng(seed)
    images = (
        draw.integers(0, 256, (size, *shape[1:]), dtype=np.uint8)
        if len(shape) == 3
        else draw.normal(size=(size, *shape)).astype(np.float32)
    )
    target = (draw.random((size, NUM_LABELS)) < 0.2).astype(np.float32)
    return Exams(images, target, np.ones_like(target, np.bool_), np.arange(size))


Times = tuple[float, float]
"""Milliseconds of a round: wall, and CPU of this process."""


class Federation:
    """One simulation and its server, a round at a time."""

    def __init__(
        self, runtime: LocalRuntime, network: Network, parts: Sequence[Exams], algorithm: Algorithm
    ) -> None:
        training = LocalTraining(1, 32, OptimizerSettings("sgd", 0.01))
        clients = [
            Client(f"hospital-{k}", {"train": own}, network, BinaryCrossEntropy(), training, 0)
            for k, own in enumerate(parts)
        ]
        self.own: Simulation = runtime.over(clients, algorithm, ByKnownEntries())
        counts = asking(self.own)(StatisticsRequest())
        model = network.started(travelling(network), counts)
        self.server = ServerState(0, model, len(clients), label_statistics=counts)

    def round_ms(self) -> Times:
        """One round: broadcast, updates, sum, new model."""
        begun, cpu = time.perf_counter(), time.process_time()
        algorithm, cohort = self.own.algorithm, self.own.clients
        replies = self.own.train(algorithm.broadcast(self.server), cohort)
        self.server = algorithm.server_update(self.server, total(replies, cohort))
        return 1e3 * (time.perf_counter() - begun), 1e3 * (time.process_time() - cpu)


def measured(
    shape: tuple[int, ...],
    network: Network,
    num_clients: int,
    rounds: int,
    algorithm: Algorithm | None = None,
) -> dict[str, list[Times]]:
    """The rounds of each runtime, taken in turn."""
    parts = [exams(shape, 200, seed) for seed in range(num_clients)]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    federations = {
        name: Federation(runtime, network, parts, algorithm or FedAvg())
        for name, runtime in RUNTIMES.items()
    }
    for one in federations.values():
        one.round_ms()
    found: dict[str, list[Times]] = {name: [] for name in federations}
    for _ in range(rounds):
        for name, one in federations.items():
            found[name].append(one.round_ms())
    assert len({one.server.model.digest() for one in federations.values()}) == 1
    return found


def shown(title: str, found: dict[str, list[Times]]) -> None:
    """Print the rounds of each runtime."""
    for name, times in found.items():
        low, middle, high = statistics.quantiles([wall for wall, _ in times], n=4)
        cpu = statistics.median(own for _, own in times)
        ratio = ratio_of(found, name, "in_process")
        wall = f"{middle:8.1f} ms ({low:.1f} to {high:.1f})"
        print(f"{title:23s} {name:11s} {wall:30s} x {ratio:.2f}   here {cpu:7.1f} ms of CPU")
        title = ""


def ratio_of(found: dict[str, list[Times]], name: str, other: str) -> float:
    """Median over turns of the wall time of one runtime over that of another."""
    pairs = zip(found[name], found[other], strict=True)
    return statistics.median(own[0] / its[0] for own, its in pairs)


def counting(told: Connection) -> None:
    """Do nothing but count for a second, and tell the share of a core that was there for it."""
    begun, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < 1:
        pass
    told.send((time.process_time() - cpu) / (time.perf_counter() - begun))


def shares_of_cores() -> list[float]:
    """What two processes that count at the same time get of a core each."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(WORKERS)]
    processes = [context.Process(target=counting, args=(told,)) for _, told in pipes]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [float(heard.recv()) for heard, _ in pipes]


def main() -> int:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    images, features = (1, 28, 28), (512,)
    mlp = measured(features, MultilayerPerceptron().build(features, NUM_LABELS, 0), 20, rounds)
    shown("mlp, 512 features", mlp)
    graph = LabelGraphNetwork(of="mlp").build(features, NUM_LABELS, 0)
    shown("label graph over it", measured(features, graph, 20, rounds))
    cnn = SmallCNN().build(images, NUM_LABELS, 0)
    shown("small CNN, 28 pixels", measured(images, cnn, 20, max(3, rounds // 3)))
    little = MultilayerPerceptron((8,)).build((8,), NUM_LABELS, 0)
    nothing = measured((8,), little, 10, 3 * rounds, Unmoved())
    shown("10 clients, no training", nothing)
    of_this_process = ratio_of(mlp, "processes", "in_process")
    over = statistics.median(
        own[0] - its[0]
        for own, its in zip(nothing["processes"], nothing["in_process"], strict=True)
    )
    print(
        f"processes on the MLP: {of_this_process:.2f} of this process (target {OF_THIS_PROCESS}), "
        f"{ratio_of(mlp, 'processes', 'parallel'):.2f} of threads; "
        f"{over:.1f} ms a round beside training (target {OVERHEAD_MS:.0f})"
    )
    shares = shares_of_cores()
    print("two processes that count got " + " and ".join(f"{s:.2f}" for s in shares) + " of a core")
    return 0 if of_this_process <= OF_THIS_PROCESS and over <= OVERHEAD_MS else 1


if __name__ == "__main__":
    sys.exit(main())
