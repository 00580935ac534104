"""Frozen features: 20 hospitals of 200 images, 512 features each, an mlp of 128 hidden, 14 labels.

    python benchmarks/speed/features.py [--alternations 5]

A plain loop (one thread, a copy of the model for each client) beside our runtimes, in turn, in one
process with one operator thread; 10 rounds each, batches of 32. Steps are so small here that what
is not arithmetic counts; ``stacked`` takes one step of all clients at once. Exit code 1 where the
fastest of ours is less than 3 times as fast as the plain loop, or where losses differ.
"""

from __future__ import annotations

import argparse
import copy
import sys
from functools import partial
from statistics import median

import numpy as np
import torch
from ours import hospital, rounds
from torch.nn.functional import binary_cross_entropy_with_logits
from workload import (
    BATCH,
    CLIENTS,
    IMAGES,
    LABELS,
    RATE,
    ROUNDS,
    SEED,
    WORKERS,
    Clock,
    order,
)

from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.sharing import load, travelling
from concilium.foundation import components
from concilium.foundation.named_tensors import NamedTensors
from concilium.networks.contract import Network
from concilium.networks.mlp import MultilayerPerceptron
from concilium.runtimes.contract import LocalRuntime

WIDTH, TARGET, SAME_LOSS = 512, 3.0, 1e-3
PLAIN = "plain loop"


def mlp() -> Network:
    return MultilayerPerceptron(hidden=(128,)).build((WIDTH,), LABELS, SEED)


def hospitals(network: Network) -> list[Client]:
    """Clients with features of noise."""
    generator = np.random.default_rng(SEED)
    features = generator.normal(size=(CLIENTS, IMAGES, WIDTH)).astype(np.float32)
    targets = (generator.random((CLIENTS, IMAGES, LABELS)) < 0.1).astype(np.float32)
    patients = np.arange(IMAGES)
    return [
        hospital(k, Exams(features[k], targets[k], targets[k] >= 0, patients), network)
        for k in range(CLIENTS)
    ]


def plain_loop(members: list[Client], clock: Clock) -> NamedTensors:
    """A model for each client, one after the other."""
    parts = [client.parts["train"] for client in members]
    images = [torch.from_numpy(np.asarray(own.images)) for own in parts]
    targets = [torch.from_numpy(own.target) for own in parts]
    server = copy.deepcopy(members[0].network)
    for round_ in range(ROUNDS):
        states = []
        for client in range(CLIENTS):
            model = copy.deepcopy(server)
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            for rows in order(client, round_).split(BATCH):
                logits = model(images[client][rows])
                loss = binary_cross_entropy_with_logits(logits, targets[client][rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            states.append(model.state_dict())
        server.load_state_dict({n: sum(s[n] for s in states) / CLIENTS for n in states[0]})
        clock()
    return travelling(server)


def runtime_rounds(how: LocalRuntime, members: list[Client], clock: Clock) -> NamedTensors:
    return rounds(how, members, ROUNDS, lambda event: clock())


def runtimes() -> dict[str, LocalRuntime]:
    """Ours, as far as they are there."""
    workers = {"workers": WORKERS}
    settings = {"in_process": {}, "parallel": workers, "processes": workers, "stacked": {}}
    known = components.names("runtimes")
    return {n: components.build("runtimes", n, s) for n, s in settings.items() if n in known}


@torch.no_grad()
def final_loss(network: Network, members: list[Client], model: NamedTensors) -> float:
    load(network, model)
    parts = [client.parts["train"] for client in members]
    image, target = (np.concatenate([getattr(p, n) for p in parts]) for n in ("images", "target"))
    logits = network(torch.from_numpy(image))
    return float(binary_cross_entropy_with_logits(logits, torch.from_numpy(target)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alternations", type=int, default=5)
    alternations = parser.parse_args().alternations
    torch.set_num_threads(1)
    runners = {PLAIN: plain_loop}
    runners |= {name: partial(runtime_rounds, how) for name, how in runtimes().items()}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    losses: dict[str, float] = {}
    for _ in range(alternations):
        for name, run in runners.items():
            network = mlp()
            members, clock = hospitals(network), Clock()
            model = run(members, clock)
            seconds[name].append(median(clock.rounds[1:]))
            losses[name] = final_loss(network, members, model)
    best = 0.0
    for name, own in seconds.items():
        ratios = [plain / one for plain, one in zip(seconds[PLAIN], own, strict=True)]
        if name != PLAIN:
            best = max(best, median(ratios))
        print(
            f"{name:11}: {1e3 * median(own):6.1f} ms a round, {median(ratios):.2f} times as fast "
            f"({min(ratios):.2f} to {max(ratios):.2f}), final loss {losses[name]:.6f}"
        )
    print(f"best: {best:.2f} times as fast as the plain loop; target at least {TARGET}")
    return int(best < TARGET or max(losses.values()) - min(losses.values()) > SAME_LOSS)


if __name__ == "__main__":
    sys.exit(main())
