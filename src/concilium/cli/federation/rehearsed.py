"""The trial itself: a federation of processes on this machine, and the same study embedded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from concilium.cli.federation.comparing import print_equality, print_overhead
from concilium.cli.federation.folders import Home
from concilium.cli.federation.following import follow
from concilium.cli.federation.founding import found
from concilium.cli.federation.outcome import print_outcome
from concilium.cli.federation.phantoms import Plan
from concilium.cli.federation.submitting import Run, submit
from concilium.deployment.allowed import allow, read_federated
from concilium.deployment.embedded import run_embedded
from concilium.deployment.told import NOBODY, Begun, Ended, Telling
from concilium.flower.processes import free_port
from concilium.flower.sides import Coordinator, Hospital
from concilium.orchestration.carriers import Terms

DEADLINE = 120.0


class Sides:
    """The coordinator and the hospitals of a trial while the block runs."""

    def __init__(self, home: Home, folders: Mapping[str, Path]) -> None:
        self.coordinator = Coordinator(home.folder, home.port, home.listen)
        self.hospitals = {name: Hospital(folder, home.address) for name, folder in folders.items()}

    def __enter__(self) -> Self:
        try:
            self.coordinator.start()
            with ThreadPoolExecutor(len(self.hospitals)) as threads:
                list(threads.map(lambda own: own.start(), self.hospitals.values()))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def tend(self) -> None:
        """Start again what has ended."""
        self.coordinator.tend()
        for own in self.hospitals.values():
            own.tend()

    def stop(self) -> None:
        """End all processes."""
        for own in self.hospitals.values():
            own.stop()
        self.coordinator.stop()


def prepare(out: Path, plan: Plan) -> tuple[Home, dict[str, Path], Path]:
    """The folders of a trial, its study allowed in each; and the study's file."""
    sources = dict.fromkeys(plan.names, plan.source)
    home, folders = found(out, plan.names, (), free_port(), sources)
    study = out / "study.toml"
    study.write_text(plan.study, encoding="utf-8")
    plan.furnish(folders)
    for folder in folders.values():
        allow(study, folder)
    return home, folders, study


def run_trial(console: Console, out: Path, plan: Plan) -> bool:
    """Run a trial into a folder, and print what it shows; whether both runs are equal."""

    def say(text: str) -> None:
        console.print(text, style="bold", markup=False, highlight=False)

    say(f"Drawing the exams of {', '.join(plan.names)}")
    home, folders, study = prepare(out, plan)
    say("Starting the coordinator and the hospitals, encrypted, each with its own key")
    began = time.perf_counter()
    with Sides(home, folders) as sides:
        seconds = time.perf_counter() - began
        run = deployed(console, home, study, len(folders), sides)
    print_outcome(console, run.folder)
    say("The same study in one process, over the same folders")
    other = embedded(out, study, list(folders.values()))
    equal = print_equality(console, run.folder, other)
    print_overhead(console, run.folder, other, seconds)
    return equal


def deployed(console: Console, home: Home, study: Path, quorum: int, sides: Sides) -> Run:
    """The run over the processes, followed to its end."""
    run = submit(home, study, None, Terms(deadline=DEADLINE, quorum=quorum))
    follow(console, run, 0, sides.tend)
    return run


def embedded(out: Path, study: Path, folders: Sequence[Path]) -> Path:
    """The same study in this process; its run folder."""
    run = out / "embedded"
    telling = Telling(run)
    telling(NOBODY, Begun())
    text = study.read_text(encoding="utf-8")
    run_embedded(read_federated(study), text, run, folders, telling)
    telling(NOBODY, Ended())
    return run
