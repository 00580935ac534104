"""A federation of real processes on loopback, encrypted, with authenticated nodes.

Toys answer and conduct: what is tested is that letters arrive, who is let in, and what is seen of
one that is killed. The study itself runs this way in ``test_study``.
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from concilium.flower import keys, server_app
from concilium.flower.control import Commands, RunState
from concilium.flower.line import connect
from concilium.flower.processes import Process, free_port
from concilium.flower.sides import Coordinator, Hospital
from concilium.foundation.errors import FederationError
from tests.flower.toys import CANARY

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "apps" / "concilium"
NAMES = ("north", "south")


class Trial:
    """A coordinator and two hospitals in a folder."""

    def __init__(self, base: Path) -> None:
        self.base, self.home = base, base / "coordinator"
        keys.make_authority(self.home)
        keys.make_server_certificate(self.home)
        for name in NAMES:
            keys.add_member(self.home, name, self.folder(name) / keys.NODE_NAME)
        self.coordinator = Coordinator(
            self.home, free_port(), conducted_by="tests.flower.toys:conduct"
        )
        self.hospitals = {name: self.hospital(name) for name in NAMES}

    def folder(self, name: str) -> Path:
        folder = self.base / name
        keys.make_node_key(folder, name)
        shutil.copy(self.home / keys.AUTHORITY, folder)
        return folder

    def hospital(self, name: str) -> Hospital:
        address = f"127.0.0.1:{self.coordinator.port}"
        return Hospital(self.base / name, address, made_by="tests.flower.toys:Echo")

    def begin(self, letters: list[Any], out: str, **terms: Any) -> int:
        (self.home / f"{out}.json").write_text(json.dumps(letters))
        return self.coordinator.commands.start(
            BUNDLE, {"study": f"{out}.json", "out": out, **terms}
        )

    def ended(self, run: int, seconds: float = 120.0) -> RunState:
        until = time.monotonic() + seconds
        while not (state := self.coordinator.commands.run(run)).is_over:
            assert time.monotonic() < until, state
            time.sleep(0.2)
        return state

    def rows(self, out: str) -> list[list[Any]]:
        rows: list[list[Any]] = json.loads((self.home / out / "rows.json").read_text())
        return rows

    def wait_for(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until
            time.sleep(0.1)

    def tend(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Tend all sides until something holds."""

        def tended() -> bool:
            self.coordinator.tend()
            for hospital in self.hospitals.values():
                hospital.tend()
            return holds()

        self.wait_for(tended, seconds)

    def stop(self) -> None:
        for hospital in self.hospitals.values():
            hospital.stop()
        self.coordinator.stop()


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
        trial = Trial(tmp_path_factory.mktemp("trial"))
        try:
            trial.coordinator.start()
            for hospital in trial.hospitals.values():
                hospital.start()
            yield trial
        finally:
            trial.stop()


def test_a_client_without_encryption_or_with_another_authority_is_not_heard(trial: Trial) -> None:
    port = trial.coordinator.port
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        plain.request("GET", "/health")
        plain.getresponse()
    for authority, is_ours in ((None, False), (trial.home / keys.AUTHORITY, True)):
        context = ssl.create_default_context(cafile=authority)
        own = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        if is_ours:
            own.request("GET", "/health")
            assert own.getresponse().status == 200
            own.close()
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                own.request("GET", "/health")


def note(what: str, seconds: float) -> None:
    """Write a measured time where ``pytest -s`` shows it."""
    sys.stdout.write(f"{what}: {seconds:.1f} s\n")


def kill(process: Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def test_letters_go_to_all_and_answers_come_back(trial: Trial) -> None:
    state = trial.ended(trial.begin([20_000, 1_000_000, "hello"], "plain"))
    assert (state.outcome, state.details) == ("completed", "")
    rows = trial.rows("plain")
    assert {(r[0], r[1], r[3], r[4]) for r in rows[:4]} == {
        (size, name, size + len(name) + 1, "") for size in (20_000, 1_000_000) for name in NAMES
    }
    assert {(r[1], r[2]) for r in rows[4:]} == {(name, f"{name}:hello") for name in NAMES}
    assert max(r[5] for r in rows) < 15


def test_an_error_leaves_no_text_in_messages_databases_or_flowers_logs(trial: Trial) -> None:
    state = trial.ended(trial.begin(["raise", "hello", "fail"], "errors"))
    assert (state.outcome, state.details) == ("failed", server_app.FAILED)
    assert {(r[0], r[4]) for r in trial.rows("errors")} == {("raise", "failed"), ("hello", "")}
    assert CANARY in (trial.home / "errors" / server_app.ERROR).read_text()
    for folder in (trial.base / name for name in NAMES):
        written = [path for path in folder.rglob("*") if path.is_file()]
        assert written
        assert not [path for path in written if CANARY.encode() in path.read_bytes()]
    with sqlite3.connect(trial.home / "state.db") as database:
        dump = "\n".join(database.iterdump())
    database.close()
    assert CANARY not in dump
    assert "Traceback" not in dump
    assert CANARY not in trial.coordinator.superlink.log.read_text()


def test_only_those_whose_keys_are_held_take_part(trial: Trial) -> None:
    trial.folder("stranger")
    stranger = trial.hospital("stranger")
    with pytest.raises(FederationError, match="ended"):
        stranger.start(seconds=12)
    assert not stranger.supernode.is_alive
    assert {node.name for node in trial.coordinator.commands.nodes()} == set(NAMES)


def test_a_server_that_another_authority_vouches_for_is_refused(trial: Trial) -> None:
    folder = trial.folder("deceived")
    shutil.copy(keys.make_authority(folder / "other"), folder / keys.AUTHORITY)
    hospital = trial.hospital("deceived")
    with pytest.raises(FederationError, match=r"(?i)certificate|ended|ready"):
        hospital.start(seconds=5)
    assert "CERTIFICATE_VERIFY_FAILED" in hospital.supernode.log.read_text()
    with pytest.raises(FederationError, match="CERTIFICATE_VERIFY_FAILED"):
        Commands(trial.coordinator.address, folder / keys.AUTHORITY).nodes()


def test_plain_text_is_refused(trial: Trial) -> None:
    hospital = trial.hospital("north")
    hospital.supernode.folder = trial.base / "plain text"
    arguments = list(hospital.supernode.arguments)
    del arguments[arguments.index("--root-certificates") :][:2]
    hospital.supernode.arguments = ["--insecure", *arguments[2:]]
    hospital.supernode.start()
    trial.wait_for(lambda: not hospital.supernode.is_alive)
    assert "requires a secure TLS connection" in " ".join(hospital.supernode.said().split())


def test_a_killed_client_app_is_seen_as_failed_and_started_again(trial: Trial) -> None:
    run = trial.begin(["sleep 8", "hello"], "client", deadline=60.0)
    sent = trial.home / "client" / "sent"
    trial.wait_for(lambda: sent.exists() and "sleep" in sent.read_text())
    time.sleep(2)
    kill(trial.hospitals["north"].executor)
    trial.tend(lambda: trial.coordinator.commands.run(run).is_over, 90)
    rows = {(r[0], r[1]): r[4:] for r in trial.rows("client")}
    assert rows["sleep 8", "north"][0] == "failed"
    assert rows["sleep 8", "north"][1] < 25
    assert rows["sleep 8", "south"][0] == rows["hello", "north"][0] == ""
    note("killed client app seen after", rows["sleep 8", "north"][1] - 2)


def test_a_killed_node_is_seen_as_unreachable_and_comes_back(trial: Trial) -> None:
    run = trial.begin(["sleep 3", "hello"], "node", deadline=60.0)
    sent = trial.home / "node" / "sent"
    trial.wait_for(lambda: sent.exists() and "sleep" in sent.read_text())
    time.sleep(2)
    killed = time.monotonic()
    kill(trial.hospitals["north"].supernode)
    trial.ended(run)
    rows = {(r[0], r[1]): r[4:] for r in trial.rows("node")}
    assert rows["sleep 3", "north"][0] == rows["hello", "north"][0] == "unreachable"
    assert rows["sleep 3", "north"][1] < 35
    assert rows["hello", "north"][1] < 5, "a node that is known to be gone is not waited for"
    note("killed node seen after", rows["sleep 3", "north"][1] - 2)
    trial.tend(lambda: trial.hospitals["north"].is_online)
    note("killed node back after", time.monotonic() - killed)
    trial.ended(trial.begin(["hello"], "back"))
    assert {r[4] for r in trial.rows("back")} == {""}


def test_a_killed_run_is_over_at_once(trial: Trial) -> None:
    run = trial.begin(["sleep 5"], "killed")
    trial.wait_for((trial.home / "killed" / "sent").exists)
    children = Path(f"/proc/{trial.coordinator.conductor.pid}/task").glob("*/children")
    (child,) = [int(pid) for path in children for pid in path.read_text().split()]
    os.kill(child, signal.SIGKILL)
    state = trial.ended(run, 30)  # Flower by itself: a minute
    assert state.outcome == "failed"
    assert "resume" in state.details
    trial.ended(trial.begin(["hello"], "after"))
    assert {r[4] for r in trial.rows("after")} == {""}


def test_a_killed_superlink_ends_the_run_and_the_next_one_goes_on(trial: Trial) -> None:
    trial.begin(["sleep 5", "sleep 5"], "dead")
    trial.wait_for((trial.home / "dead" / "sent").exists)
    kill(trial.coordinator.superlink)
    began = time.monotonic()
    error = trial.home / "dead" / server_app.ERROR
    trial.wait_for(error.exists, 30)
    note("a dead SuperLink seen after", time.monotonic() - began)
    assert "does not answer" in error.read_text()

    def online() -> bool:
        if not trial.coordinator._answers():
            return False
        return [n.status for n in trial.coordinator.commands.nodes()] == ["online"] * 2

    trial.tend(online, 90)
    trial.ended(trial.begin(["hello"], "alive"))
    assert {r[4] for r in trial.rows("alive")} == {""}


def test_a_certificate_that_has_expired_is_refused(tmp_path: Path, trial: Trial) -> None:
    home = tmp_path / "coordinator"
    keys.make_authority(home)
    keys.make_server_certificate(home, lasting=datetime.timedelta(minutes=-1))
    coordinator = Coordinator(home, free_port())
    with pytest.raises(FederationError):
        coordinator.start(seconds=8)
    assert not coordinator.superlink.is_alive


def test_nothing_is_left_when_the_starter_is_killed(tmp_path: Path, trial: Trial) -> None:
    code = (
        "import sys, time; from pathlib import Path; "
        "from concilium.flower.processes import Process; "
        "p = Process('concilium.flower.worker', [sys.argv[1]], Path(sys.argv[1])); p.start(); "
        "p.wait_until(lambda: 'ready' in p.said(), 20); print(flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        connect(tmp_path).close()
        starter.kill()

    def is_gone() -> bool:
        try:
            connect(tmp_path).close()
        except OSError:
            return True
        return False

    trial.wait_for(is_gone, 10)
