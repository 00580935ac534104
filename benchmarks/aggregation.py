"""What adding updates up costs: share of a round, throughput, and memory for 10 and 1,000 clients.

    python benchmarks/aggregation.py

(a) Share: rounds of 50 clients with DenseNet-121 (7 million parameters, 64 px). A client has 32
images, one step; real clients have hundreds, so the share printed is an upper bound of what a real
round has. Aggregation is all that the server does with updates: the sum, the mean and the step; it
is timed around the clients' work in the same round. The bytes of a round are printed.
(b) Throughput: `total` of 10 updates of that model over a loop of `torch.add_` on float64 sums,
written plainly, in turn. The loop adds up the 364 tensors alone; ours also the weight of each.
(c) Memory: the peak resident memory of a process that adds up 10 and 1,000 updates of that model,
each made when its turn comes.

Times are CPU times of one thread, so that other work on the machine does little to them.

Exits with 1 where a target is missed: (a) 5 %, (b) 1.25, both for float, in which studies add up
(fixed point is printed), (c) 10 %.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from _memory import OPTION, growth, peak_megabytes, print_own_peak

from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.messages import Update, scalar_weight, total
from concilium.federation.running_total import Arithmetic
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.contract import Network
from concilium.networks.densenet121 import DenseNet121
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages

CLIENTS, IMAGES, SIDE, NUM_LABELS = 50, 32, 64, 14
ARITHMETICS: tuple[Arithmetic, ...] = ("float", "fixed_point")
ALTERNATIONS, SUMMED, FEW, MANY = 9, 10, 10, 1000
SHARE_TARGET, TIME_TARGET, MEMORY_TARGET = 0.05, 1.25, 0.10


def network() -> Network:
    """The network of all parts."""
    return DenseNet121().build((1, SIDE, SIDE), NUM_LABELS, 0)


def federation(worker: Network) -> Simulation:
    """Clients of a few images of noise; they share the network as their workbench."""
    generator = np.random.default_rng(0)
    training = LocalTraining(1, IMAGES, OptimizerSettings("sgd", 0.01))
    clients = []
    for k in range(CLIENTS):
        images = generator.integers(0, 256, (IMAGES, SIDE, SIDE), dtype=np.uint8)
        target = (generator.random((IMAGES, NUM_LABELS)) < 0.1).astype(np.float32)
        exams = Exams(images, target, np.ones_like(target, np.bool_), np.arange(IMAGES))
        own = {"train": exams}
        clients.append(Client(f"hospital-{k}", own, worker, BinaryCrossEntropy(), training, 0))
    return InProcess().over(clients, FedAvg(), ByImages())


class Clock:
    """Replies as they come, and the seconds that clients took to make them."""

    def __init__(self, replies: Iterator[tuple[str, Update]]) -> None:
        self._replies = replies
        self.seconds = 0.0

    def __iter__(self) -> Iterator[tuple[str, Update]]:
        return self

    def __next__(self) -> tuple[str, Update]:
        started = time.process_time()
        try:
            return next(self._replies)
        finally:
            self.seconds += time.process_time() - started


def one_round(
    runtime: Simulation, server: ServerState, arithmetic: Arithmetic
) -> tuple[ServerState, float, float, int]:
    """The next server; seconds of the round and of the server's part; bytes up."""
    algorithm = runtime.algorithm
    started = time.process_time()
    replies = Clock(runtime.train(algorithm.broadcast(server), runtime.clients))
    summed = total(replies, runtime.clients, arithmetic)
    server = algorithm.server_update(server, summed)
    seconds = time.process_time() - started
    return server, seconds, seconds - replies.seconds, summed.num_bytes


def shares() -> bool:
    """Print the share of a round that aggregation takes; is it small enough?"""
    worker = network()
    runtime = federation(worker)
    model = travelling(worker)
    server = ServerState(0, model, CLIENTS)
    enough = True
    for arithmetic in ARITHMETICS:
        server, seconds, own, up = one_round(runtime, server, arithmetic)
        enough = enough and (arithmetic != "float" or own / seconds <= SHARE_TARGET)
        print(
            f"aggregation, {arithmetic}: {own / seconds:.2%} of a round ({own:.2f} s of "
            f"{seconds:.1f} s; {CLIENTS} clients of {IMAGES} images: an upper bound; "
            f"target at most {SHARE_TARGET:.0%})"
        )
    down = CLIENTS * runtime.algorithm.broadcast(server).num_bytes()
    print(
        f"bytes of a round: {down / 1e6:,.1f} MB down, {up / 1e6:,.1f} MB up "
        f"({sum(t.numel() for t in model.values()):,} parameters, {CLIENTS} clients)"
    )
    return enough


def updates(model: NamedTensors, num: int) -> Iterator[tuple[str, Update]]:
    """The same update from so many clients."""
    update = Update(model, scalar_weight(model, 100.0))
    return ((str(client), update) for client in range(num))


def bare(model: NamedTensors) -> dict[str, torch.Tensor]:
    """The same sum written plainly."""
    sums = {name: tensor.double() for name, tensor in model.items()}
    for _ in range(SUMMED - 1):
        for name, tensor in model.items():
            sums[name].add_(tensor)
    return sums


def seconds(work: object, *arguments: object) -> float:
    """CPU time of a call."""
    assert callable(work)
    started = time.process_time()
    work(*arguments)
    return time.process_time() - started


def throughput() -> bool:
    """Print the time of a sum over that of the plain loop; is the float one small enough?"""
    model = travelling(network())
    order = [str(client) for client in range(SUMMED)]
    ratios: dict[Arithmetic, list[float]] = {arithmetic: [] for arithmetic in ARITHMETICS}
    plain = []
    bare(model)
    for _ in range(ALTERNATIONS):
        plain.append(seconds(bare, model))
        for arithmetic in ARITHMETICS:
            own = seconds(total, updates(model, SUMMED), order, arithmetic)
            ratios[arithmetic].append(own / plain[-1])
    rate = SUMMED * model.num_bytes() / statistics.median(plain) / 1e9
    print(f"a plain loop of add_: {rate:.2f} GB of updates a second")
    for arithmetic, own_ratios in ratios.items():
        print(
            f"total, {arithmetic}, over the plain loop: {statistics.median(own_ratios):.2f} "
            f"(from {min(own_ratios):.2f} to {max(own_ratios):.2f}, {ALTERNATIONS} alternations"
            + (f"; target at most {TIME_TARGET:.2f})" if arithmetic == "float" else ")")
        )
    return statistics.median(ratios["float"]) <= TIME_TARGET


def summed_alone(num: int, arithmetic: Arithmetic) -> None:
    """Add up so many updates, each made when its turn comes."""
    model = travelling(network())
    weight = scalar_weight(model, 100.0)
    made = ((str(k), Update(model * (k / num), weight)) for k in range(num))
    total(made, [str(k) for k in range(num)], arithmetic)


def memory() -> bool:
    """Print the growth of the peak from 10 to 1,000 updates; is it small enough?"""
    grown = []
    for arithmetic in ARITHMETICS:
        few, many = (peak_megabytes(__file__, number, arithmetic) for number in (FEW, MANY))
        names = f"{FEW} updates", f"{MANY:,}"
        grown.append(growth(arithmetic, (names[0], few), (names[1], many), MEMORY_TARGET))
    return all(abs(one) <= MEMORY_TARGET for one in grown)


def main() -> int:
    """Measure all, or (in a process of its own) the memory of one sum."""
    torch.set_num_threads(1)
    if OPTION in sys.argv:
        arithmetic: Arithmetic = "float" if sys.argv[-1] == "float" else "fixed_point"
        summed_alone(int(sys.argv[-2]), arithmetic)
        print_own_peak()
        return 0
    passed = [shares(), throughput(), memory()]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
