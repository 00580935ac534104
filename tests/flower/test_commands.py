"""The commands of docs/deployment.md in their order, each side in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from concilium.deployment.told import Listening
from concilium.flower.processes import free_port
from concilium.orchestration.observers import RoundFinished
from tests.deployment.worlds import write_features
from tests.flower.federations import CONCILIUM, NAMES, SOURCE, plan

pytestmark = pytest.mark.slow

ROUNDS = 6


class Terminal:
    """Commands in a folder, and those that stay in the foreground."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self, name: str, *arguments: object) -> subprocess.Popen[bytes]:
        """A command that stays; what it says stands in a file of its name."""
        with (self.folder / f"{name}.out").open("wb") as file:
            self.open[name] = subprocess.Popen(
                [*CONCILIUM, *map(str, arguments)],
                cwd=self.folder,
                stdout=file,
                stderr=file,
                env={**os.environ, "COLUMNS": "300", "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        return self.open[name]

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text()

    def run(self, *arguments: object, code: int = 0) -> str:
        """A command to its end."""
        process = self.begin("command", *arguments)
        assert process.wait(150) == code, self.said("command")
        return self.said("command")

    def until(self, holds: Callable[[], object], seconds: float = 90.0) -> None:
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, {name: self.said(name) for name in self.open}
            time.sleep(0.2)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    for process in terminal.open.values():
        if process.poll() is None:
            process.kill()
            process.wait()


def ours(folder: Path) -> list[str]:
    """Command lines of all processes that work on something below a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_from_nothing_to_a_report(terminal: Terminal, tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "fed" / "coordinator"
    (tmp_path / "study.toml").write_text(plan(ROUNDS).study)
    said = terminal.run("init", "fed", "--host", "localhost", "--port", port)
    address = re.search(r"--address (\S+)", said)
    assert address is not None
    for seed, name in enumerate(NAMES, start=1):
        join = ("--name", name, "--authority", home / "ca.crt", "--address", address[1])
        terminal.run("join", name, *join)
        file = tmp_path / name / "hospital.toml"
        file.write_text(re.sub("(?m)^source = .*$", f"source = {SOURCE}", file.read_text()))
        write_features(tmp_path / name / "features.npz", seed)
        assert "Allowed" in terminal.run("allow", "study.toml", "--hospital", name, "--yes")

    terminal.begin("coordinator", "coordinator", home)
    terminal.until(lambda: "ready" in terminal.said("coordinator"))
    for name in NAMES:  # while it runs
        terminal.run("admit", home, tmp_path / name / f"{name}.pub")
        terminal.until(lambda: f"{name}: registered" in terminal.said("coordinator"))  # noqa: B023
        terminal.begin(name, "hospital", tmp_path / name)
    terminal.until(lambda: all(f"{name}: online" in terminal.said(name) for name in NAMES))
    shown = json.loads(terminal.run("status", home, "--json"))
    assert shown["running"]
    assert shown["hospitals"] == dict.fromkeys(NAMES, "online")

    start = terminal.begin("start", "start", "study.toml", "--coordinator", home)
    listening = Listening(home / "runs" / "study")
    terminal.until(
        lambda: any(isinstance(told.event, RoundFinished) for told in listening.new()), 120
    )
    start.send_signal(signal.SIGINT)
    assert start.wait(10) == 130
    assert "concilium federation resume" in terminal.said("start")
    terminal.run("stop", "study", "--coordinator", home)
    terminal.until((home / "runs" / "study" / "error.txt").exists, 30)
    said = terminal.run("resume", "study", "--coordinator", home)
    assert "goes on after round" in said
    assert "Report: " in said
    assert (home / "runs" / "study" / "report.html").exists()
    assert "finished" in terminal.run("status", home)
    assert "online" not in terminal.run("status", tmp_path / "north")
    again = terminal.run("start", "study.toml", "--coordinator", home, code=2)
    assert "holds a run already" in again

    for name in (*NAMES, "coordinator"):
        terminal.open[name].send_signal(signal.SIGINT)
        assert terminal.open[name].wait(30) == 0, terminal.said(name)
        assert "ending" in terminal.said(name)
        assert "Traceback" not in terminal.said(name)
    terminal.until(lambda: not ours(tmp_path), 10)


def test_a_hospital_whose_key_is_not_admitted_is_told_so(
    terminal: Terminal, tmp_path: Path
) -> None:
    port, home = free_port(), tmp_path / "fed" / "coordinator"
    terminal.run("init", "fed", "--port", port)
    terminal.run(
        *("join", "north", "--name", "north", "--authority", home / "ca.crt"),
        *("--address", f"127.0.0.1:{port}"),
    )
    terminal.begin("coordinator", "coordinator", home)
    terminal.until(lambda: "ready" in terminal.said("coordinator"))
    said = terminal.run("hospital", "north", code=1)
    assert "is this hospital's key admitted there?" in said
