"""Where the time of a round goes, with ``in_process``: a CNN on images, an mlp on features.

    python benchmarks/speed/profile_round.py

Python's profiler, on one thread: what it costs falls on Python's own lines, not on torch's
operators, so the shares of "the rest" are rather too large. Rounds after the first are measured.
Then torch's profiler over the operators of local epochs, in both memory orders.
"""

from __future__ import annotations

import cProfile
import pstats
from pathlib import PurePath

import features
import ours
import torch
from bare_loop import channels_last
from torch.profiler import ProfilerActivity, profile
from workload import ROUNDS, Model, local_epoch

from concilium.federation.client import Client
from concilium.orchestration.observers import Event
from concilium.runtimes.in_process import InProcess

# What a share is: functions (file, name) none of which calls another one in this table.
SHARES = {
    "forward": [("training/local.py", "_loss")],
    "backward": [("torch/_tensor.py", "backward")],
    "optimiser": [("training/optimizers.py", "step"), ("training/optimizers.py", "zero_grad")],
    "batches": [("data/loader.py", "_batches")],
    "copying models": [
        ("federation/sharing.py", name) for name in ("load", "travelling", "private")
    ],
    "weighing updates": [("algorithms/_updates.py", "update_of")],
    "adding up": [("federation/messages.py", "add"), ("federation/messages.py", "update")],
    "server's step": [("algorithms/fedavg.py", "server_update")],
    "digests": [("foundation/named_tensors.py", "digest")],
    "label statistics": [("labels/statistics.py", "of")],
}


def profiled(members: list[Client]) -> pstats.Stats:
    """All rounds but the first."""
    profiler = cProfile.Profile()
    done = 0

    def round_is_over(event: Event) -> None:
        nonlocal done
        done += 1
        if done == 1:
            profiler.enable()
        elif done == ROUNDS:
            profiler.disable()

    ours.rounds(InProcess(), members, ROUNDS, round_is_over)
    return pstats.Stats(profiler)


def seconds_in(stats: pstats.Stats, file: str, name: str) -> float:
    """Seconds in a function and all that it calls; 0 where it was never called."""
    return sum(
        timing[3]
        for (path, _, function), timing in stats.stats.items()  # type: ignore[attr-defined]
        if function == name and PurePath(path).as_posix().endswith(file)
    )


def print_shares(title: str, stats: pstats.Stats) -> None:
    whole = stats.total_tt  # type: ignore[attr-defined]
    print(f"{title}: {1e3 * whole / (ROUNDS - 1):.0f} ms a round")
    rest = whole
    unseen = []
    for share, functions in SHARES.items():
        parts = {function: seconds_in(stats, *function) for function in functions}
        unseen += [" ".join(function) for function, spent in parts.items() if not spent]
        own = sum(parts.values())
        rest -= own
        print(f"  {own / whole:6.1%}  {share}")
    print(f"  {rest / whole:6.1%}  the rest")
    if unseen:  # once a run only, or a name that has changed since
        print(f"  never called: {', '.join(unseen)}")


OPERATORS = {"max-pooling": "max_pool", "convolutions": "conv", "linear layers": "mm"}
EPOCHS = 10


def print_operators(title: str, model: Model) -> None:
    """Shares of local epochs that torch's operators take by themselves, backward included."""
    local_epoch(model, 0, 0)  # the first use of an operator sets it up
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for client in range(EPOCHS):
            local_epoch(model, client, 1)
    own = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    whole = sum(own.values())
    text = ", ".join(
        f"{sum(spent for name, spent in own.items() if part in name) / whole:.0%} {share}"
        for share, part in OPERATORS.items()
    )
    print(f"{title}: {1e-3 * whole / EPOCHS:.0f} ms a client; {text}")


def main() -> None:
    torch.set_num_threads(1)
    print_shares("CNN, 20 clients of 200 images", profiled(ours.hospitals(ours.cnn())))
    print_shares("mlp, 20 hospitals of 200 images", profiled(features.hospitals(features.mlp())))
    print_operators("operators, channel first", Model())
    print_operators("operators, channel last", channels_last())


if __name__ == "__main__":
    main()
