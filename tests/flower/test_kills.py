"""Parts of a federation are killed in the middle of a round: it ends with the undisturbed model."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from tests.flower.federations import NAMES, Trial

pytestmark = pytest.mark.slow

ROUNDS = 4
DEADLINE = 40.0


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    trial = Trial(tmp_path_factory.mktemp("trial"), ROUNDS)
    with trial.sides, closing(trial):
        yield trial


@pytest.fixture(scope="module")
def undisturbed(trial: Trial) -> list[str]:
    return trial.undisturbed()


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def worker_of(folder: Path) -> int:
    """The process that serves a hospital's folder."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if b"concilium.flower.worker" in words and str(folder).encode() in words:
                return int(place.parent.name)
    raise AssertionError(f"no worker serves {folder}")


def victim(trial: Trial, part: str) -> int:
    """The process of a part that is to be killed."""
    coordinator, hospital = trial.sides.coordinator, trial.sides.hospitals["north"]
    if part == "server app":
        (child,) = children(coordinator.conductor.pid)
        return child
    if part == "worker":
        return worker_of(trial.folders["north"].resolve())
    processes = {
        "SuperLink": coordinator.superlink,
        "SuperNode": hospital.supernode,
        "client app": hospital.executor,
    }
    return processes[part].pid


@pytest.mark.parametrize("part", ["server app", "SuperLink", "SuperNode", "client app", "worker"])
def test_a_killed_part_costs_no_bit_of_the_result(
    trial: Trial, undisturbed: list[str], part: str
) -> None:
    out = part.replace(" ", "-")
    began = time.monotonic()
    process = trial.start(out, deadline=DEADLINE, quorum=len(NAMES))
    trial.until(lambda: len(trial.rounds_of(out)) >= 1, 120)
    time.sleep(0.3)
    killed = time.monotonic()
    os.kill(victim(trial, part), signal.SIGKILL)
    code, said = trial.ended(process)
    noticed, resumed = time.monotonic() - killed, 0
    while code != 0 and resumed < 5:
        assert code == 1, said
        assert "concilium federation resume" in said
        resumed += 1
        code, said = trial.ended(trial.resume(out))
    assert code == 0, said
    assert trial.hashes(out) == undisturbed
    sys.stdout.write(
        f"\n{part}: the command ended {noticed:.0f} s after the kill, resumed {resumed} times, "
        f"{time.monotonic() - began:.0f} s in all\n"
    )


def test_a_silent_hospital_is_named_by_the_deadline(trial: Trial) -> None:
    deadline, out = 15.0, "silent"
    process = trial.start(out, deadline=deadline, quorum=1)
    trial.until(lambda: len(trial.rounds_of(out)) >= 1, 120)
    worker = worker_of(trial.folders["north"].resolve())
    try:
        os.kill(worker, signal.SIGSTOP)
        stopped = time.time()
        trial.until(lambda: any("left_out" in own for own in trial.rounds_of(out)), 60)
    finally:
        os.kill(worker, signal.SIGCONT)
    record = next(own for own in trial.rounds_of(out) if "left_out" in own)
    assert list(record["left_out"]) == ["north"]
    assert record["left_out"]["north"].startswith("silent")
    assert record["at"] - stopped < deadline + 10
    code, said = trial.ended(process)
    assert code == 0, said
    assert f"round {record['round']} without north: silent" in said
    sys.stdout.write(
        f"\nthe round ended {record['at'] - stopped:.1f} s after the hospital fell silent\n"
    )


def test_too_few_hospitals_end_the_run_with_their_names(trial: Trial) -> None:
    trial.sides.hospitals["south"].stop()
    try:
        began = time.monotonic()
        process = trial.start("few", deadline=10, quorum=2)
        trial.until(lambda: process.poll() is not None, 120, tended=False)
        said, _ = process.communicate()
        assert process.returncode == 1, said
        assert "too few hospitals" in said
        assert "south" in said
        sys.stdout.write(f"\ntoo few hospitals: said after {time.monotonic() - began:.0f} s\n")
    finally:
        trial.sides.hospitals["south"].start()
    code, said = trial.ended(trial.resume("few"))
    assert code == 0, said
