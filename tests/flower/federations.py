"""Federations of real processes over small feature tables, and the commands that run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concilium.cli.federation.folders import Home
from concilium.cli.federation.phantoms import Plan
from concilium.cli.federation.rehearsed import Sides, embedded, prepare
from concilium.cli.federation.trial import FIRST_LINE
from concilium.deployment.told import Listening
from concilium.orchestration.observers import RoundFinished
from tests.deployment.worlds import write_features

CONCILIUM = (sys.executable, "-m", "concilium", "federation")
NAMES = ("north", "south")
SOURCE = '{name = "feature_table", file = "features.npz"}'

STUDY = (
    FIRST_LINE
    + """
title = "Two hospitals"
seeds = [3]

[data]
source = "phantom"   # of a simulation; hospitals have their own
labels = ["Effusion", "Mass", "Hernia"]

[split]
fractions = [0.5, 0.25, 0.25]

[network]
architecture = {name = "mlp", hidden = [4]}

[training]
rounds = ROUNDS
evaluate_every = ROUNDS
learning_rates = [0.1]
batch_size = 8

[evaluation]
min_positives = 1
bootstrap = 4

[methods.scaffold]
algorithm = "scaffold"
HEAD
"""
)


def furnish(folders: Mapping[str, Path]) -> None:
    """Features of every hospital."""
    for seed, folder in enumerate(folders.values(), start=1):
        write_features(folder / "features.npz", seed)


def plan(rounds: int, head: str = "") -> Plan:
    """A plan of so many rounds, with an exact head by its settings, or without."""
    text = STUDY.replace("ROUNDS", str(rounds)).replace("HEAD", f"head = {head}" if head else "")
    return Plan(text, NAMES, SOURCE, furnish)


@dataclass
class Trial:
    """A coordinator and its hospitals in a folder, tended while one waits."""

    base: Path
    rounds: int
    home: Home = field(init=False)
    folders: dict[str, Path] = field(init=False)
    study: Path = field(init=False)
    sides: Sides = field(init=False)
    open: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home, self.folders, self.study = prepare(self.base, plan(self.rounds))
        self.sides = Sides(self.home, self.folders)

    def command(self, *arguments: object) -> subprocess.Popen[str]:
        """``concilium federation …`` with this coordinator, in a process of its own."""
        process = subprocess.Popen(
            [*CONCILIUM, *map(str, arguments), "--coordinator", str(self.home.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "COLUMNS": "300", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.open.append(process)
        return process

    def close(self) -> None:
        """End the commands that a failed test has left."""
        for process in self.open:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def start(self, out: str, **terms: Any) -> subprocess.Popen[str]:
        """Start the study into a run folder of this name."""
        options = [part for key, value in terms.items() for part in (f"--{key}", value)]
        return self.command("start", self.study, "--out", out, *options)

    def resume(self, out: str) -> subprocess.Popen[str]:
        """Go on with the run of this name."""
        return self.command("resume", out)

    def until(self, holds: Callable[[], bool], seconds: float, tended: bool = True) -> None:
        """Tend all sides until something holds; fails when it takes longer."""
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, "it takes too long"
            if tended:
                self.sides.tend()
            time.sleep(0.1)

    def ended(self, process: subprocess.Popen[str], seconds: float = 150.0) -> tuple[int, str]:
        """Exit code of a command, and what it said."""
        self.until(lambda: process.poll() is not None, seconds)
        said, _ = process.communicate()
        return process.returncode, said

    def run(self, out: str) -> Path:
        """The run folder of this name."""
        return self.home.folder / "runs" / out

    def rounds_of(self, out: str) -> list[dict[str, Any]]:
        """Records of the rounds that are committed, with when they were told."""
        return [
            {**told.event.record, "at": told.at}
            for told in Listening(self.run(out)).new()
            if isinstance(told.event, RoundFinished)
        ]

    def hashes(self, out: str) -> list[str]:
        """The model's hash after every round of a finished run, and the final one."""
        return hashes(self.run(out))

    def undisturbed(self) -> list[str]:
        """The same of the embedded run."""
        return hashes(embedded(self.base, self.study, list(self.folders.values())))


def hashes(run: Path) -> list[str]:
    """The model's hash after every round of a finished run, and the final one."""
    (result,) = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return [*(record["model"] for record in result["history"]), result["model"]]
