"""The resident worker and the line to it: what it answers, and what it survives."""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from concilium.flower import line as lines
from concilium.flower import worker as workers
from concilium.flower.line import CODES, LineError, Resident
from tests.flower.toys import CANARY, MISSING

ECHO = "tests.flower.toys:Echo"
ROOT = Path(__file__).resolve().parents[2]


def served(folder: Path) -> tuple[threading.Thread, socket.socket]:
    listening = workers.listen(folder)
    thread = threading.Thread(
        target=workers.Worker(folder, ECHO).serve, args=[listening], daemon=True
    )
    thread.start()
    return thread, listening


@pytest.fixture
def resident(tmp_path: Path) -> Iterator[Resident]:
    """A worker in a thread; its folder's path is longer than a socket's name may be."""
    folder = tmp_path / ("a" * 120) / "north"
    thread, listening = served(folder)
    resident = Resident(folder, ECHO)
    yield resident
    resident.stop()
    thread.join(10)
    listening.close()
    assert not thread.is_alive()


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resident]:
    """A worker that is started as a process when it is asked."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    resident = Resident(tmp_path, ECHO, os.getpid())
    yield resident
    resident.stop()
    if resident._process is not None:
        resident._process.wait(10)


def test_letters_of_any_bytes_are_answered_one_after_the_other(resident: Resident) -> None:
    letters = [b"", b"\x00\xff", os.urandom(3_000_000)]
    assert [resident.ask(letter, 10.0) for letter in letters] == [b"north:" + x for x in letters]


def test_only_the_owner_reaches_the_socket(resident: Resident) -> None:
    home = resident.folder / lines.FOLDER
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / lines.SOCKET).stat().st_mode) & 0o177 == 0


def test_an_error_becomes_a_code_and_its_text_goes_nowhere(
    resident: Resident, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LineError, match=r"^worker_failed$"):
        resident.ask(b"raise", 10.0)
    assert "ValueError at toys.py" in caplog.text
    assert CANARY not in caplog.text
    assert resident.ask(b"hello", 10.0) == b"north:hello"


def test_what_cannot_be_made_is_made_anew_at_the_next_letter(resident: Resident) -> None:
    (resident.folder / MISSING).touch()
    with pytest.raises(LineError, match=r"^worker_failed$"):
        resident.ask(b"hello", 10.0)
    (resident.folder / MISSING).unlink()
    assert resident.ask(b"hello", 10.0) == b"north:hello"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"Q",
        struct.pack("!cQ", b"Q", 100) + b"short",
        struct.pack("!cQ", b"Q", lines.LARGEST + 1),
        struct.pack("!cQ", b"?", 0),
    ],
)
def test_a_connection_that_breaks_leaves_the_worker_as_it_was(
    resident: Resident, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with lines.connect(resident.folder) as line:
        line.sendall(broken)
    assert resident.ask(b"hello", 10.0) == b"north:hello"


def test_a_length_beyond_all_letters_is_not_waited_for() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(1.0)
        one.sendall(struct.pack("!cQ", b"Q", lines.LARGEST + 1))
        with pytest.raises(LineError, match=r"^unreadable$"):
            lines.receive(other)


def test_who_leaves_before_the_answer_leaves_the_worker_as_it_was(resident: Resident) -> None:
    with lines.connect(resident.folder) as line:
        lines.send(line, lines.ASK, os.urandom(3_000_000))
    assert resident.ask(b"hello", 10.0) == b"north:hello"


def test_an_answer_that_does_not_come_in_time_is_late(resident: Resident) -> None:
    with pytest.raises(LineError, match=r"^late$"):
        resident.ask(b"sleep 0.2", 0.05)


def test_a_worker_that_ends_before_it_has_answered_is_lost(tmp_path: Path) -> None:
    listening = workers.listen(tmp_path)

    def hang_up() -> None:
        for _ in range(2):  # a letter is taken to a second one where the first was just ending
            listening.accept()[0].close()

    thread = threading.Thread(target=hang_up, daemon=True)
    thread.start()
    with listening, pytest.raises(LineError, match=r"^worker_lost$"):
        Resident(tmp_path, ECHO).ask(b"hello", 5.0)
    thread.join()


def test_only_known_codes_are_passed_on(tmp_path: Path) -> None:
    listening = workers.listen(tmp_path)

    def lie() -> None:
        with listening.accept()[0] as line:
            lines.receive(line)
            lines.send(line, lines.CODE, CANARY.encode())

    thread = threading.Thread(target=lie, daemon=True)
    thread.start()
    with listening, pytest.raises(LineError, match=r"^unreadable$"):
        Resident(tmp_path, ECHO).ask(b"hello", 5.0)
    thread.join()
    assert "unreadable" in CODES


@pytest.mark.slow
def test_it_is_started_on_demand_once_for_two_that_ask_at_the_same_time(started: Resident) -> None:
    other = Resident(started.folder, ECHO, os.getpid())
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda r=r: answers.append(r.ask(b"hello", 30.0)), daemon=True)
        for r in (started, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    name = started.folder.name.encode()
    assert answers == [name + b":hello"] * 2
    processes = [r._process for r in (started, other) if r._process is not None]
    deadline = time.monotonic() + 10
    while sum(p.poll() is None for p in processes) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sum(p.poll() is None for p in processes) == 1
    started.stop()
    for process in processes:
        assert process.wait(10) == 0


@pytest.mark.slow
def test_a_killed_worker_is_lost_and_the_next_letter_starts_another(started: Resident) -> None:
    started.ask(b"hello", 30.0)
    assert started._process is not None
    first = started._process
    threading.Timer(lines.JUST_ENDED + 0.5, first.kill).start()
    with pytest.raises(LineError, match=r"^worker_lost$"):
        started.ask(b"sleep 20", 30.0)
    assert started.ask(b"hello", 30.0).endswith(b":hello")
    assert started._process.pid != first.pid


@pytest.mark.slow
def test_it_ends_with_the_process_beside_it(started: Resident) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as beside:
        started.beside = beside.pid
        started.ask(b"hello", 30.0)
        beside.kill()
    assert started._process is not None
    assert started._process.wait(5) == 0


def test_a_worker_that_does_not_start_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = Resident(tmp_path, ECHO)
    monkeypatch.setattr(resident, "_start", lambda: None)
    with pytest.raises(LineError, match=r"^worker_absent$"):
        resident.ask(b"hello", 0.1)


def test_nothing_of_an_error_but_type_and_place_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / MISSING).touch()
    assert workers.Worker(tmp_path, ECHO).answer(b"hello") == (lines.CODE, b"worker_failed")
    assert workers.Worker(tmp_path, "no.such:Thing").answer(b"x") == (lines.CODE, b"worker_failed")
    assert CANARY not in caplog.text
    assert "ModuleNotFoundError" in caplog.text
