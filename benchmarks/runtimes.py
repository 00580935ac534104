"""Whether worker processes are worth it: a round in processes, in threads and in this process.

    python benchmarks/runtimes.py [ROUNDS]

20 hospitals of 200 exams and 14 labels, batch 32, one epoch, two workers, on three networks: an MLP
on 512 features, a label graph over it, and the small CNN on 28 pixels (uint8 images). A fourth has
10 hospitals that send back the model as it is: what a round costs beside its training.

The runtimes take their rounds in turn (one each, after one that is not counted, so processes and
threads are there). Printed is the median of the rounds with their quartiles, and the median of the
ratios to ``in_process`` of the same turn. Two workers on two cores reach 0.5 at best; with a busy
neighbour the ratios say more than the times.

Exits with 1 where processes miss a target: at most 0.75 of this process and 0.95 of threads on the
MLP, whose steps hold the interpreter's lock; at most 20 ms more than this process without training.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

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
OF_THIS_PROCESS, OF_THREADS, OVERHEAD_MS = 0.75, 0.95, 20.0

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

    def round_ms(self) -> float:
        """Milliseconds of one round: broadcast, updates, sum, new model."""
        begun = time.perf_counter()
        algorithm, cohort = self.own.algorithm, self.own.clients
        replies = self.own.train(algorithm.broadcast(self.server), cohort)
        self.server = algorithm.server_update(self.server, total(replies, cohort))
        return 1e3 * (time.perf_counter() - begun)


def measured(
    shape: tuple[int, ...],
    network: Network,
    num_clients: int,
    rounds: int,
    algorithm: Algorithm | None = None,
) -> dict[str, list[float]]:
    """Milliseconds of the rounds of each runtime, taken in turn."""
    parts = [exams(shape, 200, seed) for seed in range(num_clients)]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    federations = {
        name: Federation(runtime, network, parts, algorithm or FedAvg())
        for name, runtime in RUNTIMES.items()
    }
    for one in federations.values():
        one.round_ms()
    found: dict[str, list[float]] = {name: [] for name in federations}
    for _ in range(rounds):
        for name, one in federations.items():
            found[name].append(one.round_ms())
    assert len({one.server.model.digest() for one in federations.values()}) == 1
    return found


def shown(title: str, found: dict[str, list[float]]) -> dict[str, float]:
    """The medians of the ratios to ``in_process`` of the same turn; everything is printed."""
    ratios = {}
    for name, times in found.items():
        low, middle, high = statistics.quantiles(times, n=4)
        pairs = zip(times, found["in_process"], strict=True)
        ratios[name] = statistics.median(own / other for own, other in pairs)
        print(
            f"{title:24s} {name:11s} {middle:8.1f} ms ({low:.1f} to {high:.1f})"
            f"  x {ratios[name]:.2f}"
        )
        title = ""
    return ratios


def main() -> int:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    images, features = (1, 28, 28), (512,)
    mlp = measured(features, MultilayerPerceptron().build(features, NUM_LABELS, 0), 20, rounds)
    graph = LabelGraphNetwork(of="mlp").build(features, NUM_LABELS, 0)
    cnn = SmallCNN().build(images, NUM_LABELS, 0)
    of_mlp = shown("mlp, 512 features", mlp)
    shown("label graph over it", measured(features, graph, 20, rounds))
    shown("small CNN, 28 pixels", measured(images, cnn, 20, rounds))
    little = MultilayerPerceptron((8,)).build((8,), NUM_LABELS, 0)
    nothing = measured((8,), little, 10, 3 * rounds, Unmoved())
    shown("10 clients, no training", nothing)
    pairs = zip(mlp["processes"], mlp["parallel"], strict=True)
    of_threads = statistics.median(own / other for own, other in pairs)
    over = statistics.median(nothing["processes"]) - statistics.median(nothing["in_process"])
    met = (
        of_mlp["processes"] <= OF_THIS_PROCESS and of_threads <= OF_THREADS and over <= OVERHEAD_MS
    )
    print(
        f"processes on the MLP: {of_mlp['processes']:.2f} of this process (target "
        f"{OF_THIS_PROCESS}), {of_threads:.2f} of threads (target {OF_THREADS}); "
        f"{over:.1f} ms a round beside training (target {OVERHEAD_MS:.0f})"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
