"""The example for those who have a Flower app: few lines, and it runs, in memory and for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.app import Array, Message

from tests.flower.hospitals_in_memory import GridInMemory, Meddle, context

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "in_a_flower_app"
FILES = sorted((FOLDER / "findings").glob("*.py"))
APP = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flwr"]["app"]
MOST_LINES = 10


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's folder on the path of modules, as a Flower process has its bundle."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for module in [name for name in sys.modules if name.split(".")[0] == "findings"]:
        del sys.modules[module]


def component(kind: str) -> Any:
    module, _, name = APP["components"][kind].partition(":")
    return getattr(import_module(module), name)


def aurocs(text: str) -> list[float]:
    """The numbers that the server app prints, in the order of the labels."""
    return [float(value) for value in re.findall(r"AUROC of \w+: ([\d.]+|nan)", text)]


def run_in_memory(
    meddle: dict[int, Meddle] | None = None, num_partitions: int = 3, **config: Any
) -> GridInMemory:
    own = {**APP["config"], **config}
    partitions = [
        {"partition-id": i, "num-partitions": num_partitions} for i in range(num_partitions)
    ]
    nodes = {
        i + 1: (component("clientapp"), context(i + 1, own, **p)) for i, p in enumerate(partitions)
    }
    grid = GridInMemory(nodes, meddle)
    component("serverapp")(grid, context(0, own))
    return grid


def test_at_most_ten_lines_are_concilium_s_and_a_reader_can_find_them() -> None:
    marked = [
        line
        for file in FILES
        for line in file.read_text("utf-8").splitlines()
        if "# concilium" in line
    ]
    assert len(marked) <= MOST_LINES
    # Every import of concilium's is among them: nothing else of it is used.
    imports = [
        line
        for file in FILES
        for line in file.read_text("utf-8").splitlines()
        if re.match(r"\s*(from|import) concilium", line)
    ]
    assert len(imports) == 4 and set(imports) <= set(marked)
    assert "Nine of\nits lines" in (FOLDER / "README.md").read_text("utf-8") and len(marked) == 9


@pytest.mark.usefixtures("on_path")
def test_the_apps_run_and_learn(capsys: pytest.CaptureFixture[str]) -> None:
    run_in_memory(**{"num-server-rounds": 1})
    first = aurocs(capsys.readouterr().out)
    run_in_memory(**{"num-server-rounds": 3})
    later = aurocs(capsys.readouterr().out)
    assert len(first) == len(later) == 3
    assert np.mean(later) > np.mean(first) + 0.05
    assert later[0] > 0.85


@pytest.mark.usefixtures("on_path")
def test_a_hospital_whose_model_is_nan_does_not_end_the_run(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(reply: Message) -> list[Message]:
        if reply.metadata.message_type == "train":
            weight = reply.content["arrays"]["fc1.weight"].numpy() * np.float32("nan")
            reply.content["arrays"]["fc1.weight"] = Array(weight)
        return [reply]

    run_in_memory({2: broken}, **{"num-server-rounds": 1})
    assert len(aurocs(capsys.readouterr().out)) == 3
    assert "node 2 is left out: not_finite: fc1.weight" in caplog.text


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process that ends with the block; what it says goes into a file."""
    with log.open("wb") as out:
        started = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            yield
        finally:
            started.terminate()
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def listening(port: int, seconds: float = 60) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.2)
    return False


def as_the_readme_says(readme: str, home: Path, port: str) -> dict[str, str]:
    """The environment after the README's lines of preparation, in a home of this test."""
    lines = [line for line in readme.splitlines() if re.match(r"    (export|mkdir) ", line)]
    assert len(lines) == 2
    script = "\n".join([*lines, "env"]).replace("9093", port)
    done = subprocess.run(
        ["bash", "-euc", script],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    flower = dict(line.split("=", 1) for line in done.stdout.splitlines() if line[:5] == "FLWR_")
    assert flower["FLWR_HOME"] == str(home / ".flwr-trial")
    return {**os.environ, **flower}


@pytest.mark.slow
@pytest.mark.usefixtures("on_path")
def test_it_runs_over_a_superlink_and_two_supernodes_as_the_readme_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = Path(sys.executable).parent
    if not (scripts / "flower-superlink").exists():
        pytest.skip("Flower's commands are not beside this Python")
    ports = {port: str(free_port()) for port in ("9093", "9094", "9095")}
    link = ports["9093"]
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    environment = as_the_readme_says(readme, tmp_path, link) | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        "OMP_NUM_THREADS": "1",
    }
    commands = [li for li in readme.splitlines() if re.match(r"    (flower-|flwr run)", li)]
    app = shutil.copytree(FOLDER, tmp_path / "in_a_flower_app")

    def ours(line: str) -> list[str]:
        """The README's command, with ports of this test and the copied app."""
        text = re.sub(r"909[345]", lambda port: ports[port[0]], line)
        first, *others = shlex.split(text.replace("examples/in_a_flower_app", str(app)))
        return [str(scripts / first), *others]

    superlink, *supernodes, flwr_run = map(ours, commands)
    with ExitStack() as running:
        running.enter_context(process(superlink, environment, tmp_path / "superlink.log"))
        assert listening(int(link)), (tmp_path / "superlink.log").read_text()
        for i, node in enumerate(supernodes):
            running.enter_context(process(node, environment, tmp_path / f"node-{i}.log"))
        flwr_run += ["--run-config", "num-server-rounds=1"]
        done = subprocess.run(
            flwr_run, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        listed = subprocess.run(
            [str(scripts / "flwr"), "ls", "trial", "--format", "json"],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    said = done.stdout + done.stderr
    (run,) = json.loads(listed.stdout)["runs"]
    assert run["status"] == "finished:completed", said
    # What the processes of Flower found is what the same apps find in memory.
    run_in_memory(num_partitions=2, **{"num-server-rounds": 1})
    assert aurocs(said) == pytest.approx(aurocs(capsys.readouterr().out), abs=0.0011)
    assert len(aurocs(said)) == 3
