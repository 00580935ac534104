"""Ours beside other simulators and bare loops: the same network, images, batches and steps.

    python benchmarks/speed [--peers flower,pfl,…|none|all] [--alternations 5] [--quick]

Every runner is a process of its own with one operator thread a worker, peers each in an environment
that is built by the first run (``environments.py``). All run once in each alternation, each
alternation begins with another; the table has medians over alternations, and ours over theirs with
its spread. A round's seconds are the median of those after the first; wall time, the time of cores
and memory are of the whole process, from start to exit, with all its children. Exits with 1 where a
target is missed or where a runner's final loss differs. ``--quick``: two alternations, no NVFlare.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from environments import REQUIREMENTS, CannotBeInstalledError, python_of
from processes import FailedError, Run, run

HERE = Path(__file__).resolve().parent
LIMIT_SECONDS = 600.0
SAME_LOSS = 1e-3


@dataclass(frozen=True)
class Runner:
    """``peer`` is whose environment it runs in: none for the one that this runs in."""

    title: str
    script: str
    argument: str = ""
    peer: str = ""

    def python(self) -> str:
        return python_of(self.peer) if self.peer else sys.executable

    def run(self) -> Run:
        words = [self.argument] if self.argument else []
        return run([self.python(), str(HERE / self.script), *words], LIMIT_SECONDS)


OURS = Runner("**concilium, parallel, 2 workers**", "ours.py", "parallel")
TWO_THREADS = Runner("bare loop, 2 threads", "bare_loop.py", "two")
TUNED = Runner("bare loop, tuned by hand", "bare_loop.py", "tuned")
FLOWER = Runner("Flower, Ray, 2 actors", "peer_flower.py", peer="flower")
RUNNERS = (
    OURS,
    Runner("concilium, in_process", "ours.py", "in_process"),
    Runner("bare loop, 1 thread", "bare_loop.py", "one"),
    TWO_THREADS,
    TUNED,
    Runner("BlazeFL, 2 threads", "peer_blazefl.py", peer="blazefl"),
    Runner("pfl, 1 process", "peer_pfl.py", "one", "pfl"),
    Runner("pfl, 2 processes", "peer_pfl.py", "two", "pfl"),
    FLOWER,
    Runner("NVFlare simulator, 20 threads", "peer_nvflare.py", "20", "nvflare"),
)

Measure = Callable[[Run], float]
Runs = dict[Runner, list[Run]]


def round_seconds(one: Run) -> float:
    return median(one.line["rounds"][1:])


def wall(one: Run) -> float:
    return one.wall


TARGETS: tuple[tuple[str, Measure, Runner, float], ...] = (
    ("a round, over the bare loop in 2 threads", round_seconds, TWO_THREADS, 0.60),
    ("a round, over the best loop tuned by hand", round_seconds, TUNED, 1.05),
    ("a round, over Flower", round_seconds, FLOWER, 0.35),
    ("wall time of 10 rounds, over Flower", wall, FLOWER, 0.30),
)
MEGABYTES_TARGET = 450


def measured(runners: list[Runner], alternations: int) -> tuple[Runs, dict[Runner, str]]:
    """Runs of each runner, one for each alternation, and why the others have none."""
    absent = not_installed(runners)
    runs: Runs = {runner: [] for runner in runners if runner not in absent}
    for turn in range(alternations):
        for runner in rotated(list(runs), turn):
            try:
                runs[runner].append(runner.run())
                print(".", end="", file=sys.stderr, flush=True)
            except FailedError as error:
                absent[runner] = f"failed: {str(error).splitlines()[-1]}"
                del runs[runner]
                print(f"\n{runner.title}: {error}", file=sys.stderr)
    print(file=sys.stderr)
    return runs, absent


def not_installed(runners: list[Runner]) -> dict[Runner, str]:
    """Build what environments are missing before anything is measured; those that cannot be."""
    absent = {}
    for runner in runners:
        try:
            runner.python()
        except CannotBeInstalledError as error:
            absent[runner] = f"not installed: {error}"
    return absent


def rotated(runners: list[Runner], turn: int) -> list[Runner]:
    """The same runners, another one first in every turn."""
    start = turn % len(runners)
    return runners[start:] + runners[:start]


def ratios(runs: Runs, measure: Measure, other: Runner) -> list[float]:
    """Ours over another's, alternation by alternation."""
    pairs = zip(runs[OURS], runs[other], strict=True)
    return [measure(ours) / measure(theirs) for ours, theirs in pairs]


def spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def table(runs: Runs, absent: dict[Runner, str]) -> str:
    head = (
        "runner",
        "s/round",
        "first round",
        "wall, 10 rounds",
        "core seconds",
        "MB",
        "ours over it: round, wall",
    )
    lines = [" | ".join(("", *head, "")).strip(), "|" + "---|" * len(head)]
    for runner, own in runs.items():
        cells = (
            runner.title,
            f"{median(map(round_seconds, own)):.3f}",
            f"{median(one.line['rounds'][0] for one in own):.1f}",
            f"{median(map(wall, own)):.1f}",
            f"{median(one.cores for one in own):.1f}",
            f"{median(one.megabytes for one in own):,.0f}",
            f"{spread(ratios(runs, round_seconds, runner))}, {spread(ratios(runs, wall, runner))}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {runner.title} | {why} | | | | | |" for runner, why in absent.items()]
    return "\n".join(lines)


def targets_met(runs: Runs) -> bool:
    """Print each target that could be measured; are all met?"""
    met = []
    for what, measure, other, most in TARGETS:
        if other not in runs:
            print(f"not measured: {what}")
            continue
        values = ratios(runs, measure, other)
        met.append(median(values) <= most)
        print(f"{'met' if met[-1] else 'MISSED'}: {what}: {spread(values)}, at most {most}")
    megabytes = median(one.megabytes for one in runs[OURS])
    met.append(megabytes <= MEGABYTES_TARGET)
    print(f"{'met' if met[-1] else 'MISSED'}: {megabytes:.0f} MB, at most {MEGABYTES_TARGET}")
    return all(met)


def losses_agree(runs: Runs) -> bool:
    """Did all runners take the same steps? Print the final losses that differ from ours."""
    expected = runs[OURS][0].line["loss"]
    other = {
        runner.title: one.line["loss"]
        for runner, own in runs.items()
        for one in own
        if abs(one.line["loss"] - expected) > SAME_LOSS
    }
    print(f"final loss {expected:.6f}; {other or 'all runners agree'} (within {SAME_LOSS})")
    return not other


def versions(runs: Runs) -> str:
    found = {"python": platform.python_version()}
    for own in runs.values():
        found |= {k: v for k, v in own[0].line.items() if k not in ("rounds", "loss", "digest")}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def processor() -> str:
    """Model and cores, as Linux tells them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(names)} cores, {names[0] if names else platform.machine()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default="all", help=f"all, none, or of {','.join(REQUIREMENTS)}")
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two alternations, no NVFlare")
    parser.add_argument("--json", type=Path, help="keep all that was measured in this file")
    options = parser.parse_args()
    wanted = set(REQUIREMENTS) if options.peers == "all" else set(options.peers.split(","))
    wanted -= {"nvflare"} if options.quick else set()
    chosen = [runner for runner in RUNNERS if not runner.peer or runner.peer in wanted]
    runs, absent = measured(chosen, 2 if options.quick else options.alternations)
    if options.json:
        kept = {runner.title: [vars(one) for one in own] for runner, own in runs.items()}
        options.json.write_text(json.dumps(kept, indent=1))
    if OURS not in runs:
        print(f"ours: {absent[OURS]}")
        return 1
    print(f"{processor()}; {versions(runs)}\n\n{table(runs, absent)}\n")
    agree = losses_agree(runs)
    return 0 if targets_met(runs) and agree else 1


if __name__ == "__main__":
    sys.exit(main())
