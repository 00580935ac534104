"""Federated averaging as a bare loop, written plainly: no library, no statistics, no digests.

    python benchmarks/speed/bare_loop.py one|two|tuned

``one``: one thread; ``two``: two Python threads; both copy the model for each client, as one would
write it at first. ``tuned``: the best that we found by hand: two Python threads, each with one
module that it uses again, kernels stored with the channel last, deltas added up in place.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from workload import CLIENTS, ROUNDS, WORKERS, Clock, Model, local_epoch, report


def plain(threads: int) -> tuple[Model, list[float]]:
    """A copy of the model for each client; each client has as many images as the others."""
    server, clock = Model(), Clock()

    def trained(client: int, round_: int) -> dict[str, Tensor]:
        model = copy.deepcopy(server)
        local_epoch(model, client, round_)
        return model.state_dict()

    with ThreadPoolExecutor(threads) as pool:
        for round_ in range(ROUNDS):
            models = list(pool.map(trained, range(CLIENTS), [round_] * CLIENTS))
            server.load_state_dict({n: sum(m[n] for m in models) / CLIENTS for n in models[0]})
            clock()
    return server, clock.rounds


def tuned() -> tuple[Model, list[float]]:
    """A module and a total for each thread, written into where they lie, used again."""
    server, clock = channels_last(), Clock()
    models = [channels_last() for _ in range(WORKERS)]
    totals = [[torch.zeros_like(p) for p in model.parameters()] for model in models]

    def trained(worker: int, clients: Iterator[int], round_: int) -> None:
        model, total = models[worker], totals[worker]
        for client in clients:  # both threads draw from one iterator: who is free takes the next
            with torch.no_grad():
                torch._foreach_copy_(list(model.parameters()), list(server.parameters()))
            local_epoch(model, client, round_)
            with torch.no_grad():
                torch._foreach_add_(total, list(model.parameters()), alpha=1 / CLIENTS)

    with ThreadPoolExecutor(WORKERS) as pool:
        for round_ in range(ROUNDS):
            clients = iter(range(CLIENTS))
            list(pool.map(trained, range(WORKERS), [clients] * WORKERS, [round_] * WORKERS))
            with torch.no_grad():
                torch._foreach_copy_(list(server.parameters()), totals[0])
                torch._foreach_add_(list(server.parameters()), totals[1])
                for total in totals:
                    torch._foreach_zero_(total)
            clock()
    return server, clock.rounds


def channels_last() -> Model:
    """The model with its kernels' channels last; torch then runs all of it in that order."""
    return Model().to(memory_format=torch.channels_last)


def main(variant: str) -> None:
    torch.set_num_threads(1)
    model, rounds = tuned() if variant == "tuned" else plain({"one": 1, "two": WORKERS}[variant])
    report(rounds, model)


if __name__ == "__main__":
    main(sys.argv[1])
