"""The line between a hospital's client app and its resident worker: bytes over a Unix socket.

The client app is short-lived or thin; the worker imports the heavy libraries once and keeps the
hospital's data. It is started on demand by whoever asks first. The socket lies in a folder that
only its owner may enter, and nothing but a length and bytes goes over it.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from concilium.foundation.errors import ConciliumError

FOLDER, SOCKET = "worker", "line"

SITE = "concilium.deployment.site:Site"
"""Who answers at a hospital: ``module:name`` of what makes the answering object of a folder."""

ASK, STOP = b"Q", b"S"
ANSWER, CODE = b"A", b"E"

LARGEST = 2**30
"""Bytes of the largest letter: a model of 250 million numbers."""

JUST_ENDED = 0.5
"""Seconds within which a connection that breaks was to a worker that had been ending already."""

_HEAD = struct.Struct("!cQ")

CODES = {
    "worker_absent": "the hospital's worker did not start in time",
    "worker_lost": "the hospital's worker ended before it had answered",
    "worker_failed": "the hospital's worker could not be made, or raised an error",
    "late": "the hospital's worker had no answer in time",
    "unreadable": "what came is no letter of ours",
}
"""What can go wrong at a hospital before its own judgement; nothing else is said of it."""


class LineError(ConciliumError):
    """A letter that brought no answer; its text is one of ``CODES``."""


@dataclass
class Resident:
    """The worker of the hospital in ``folder``, started when it is first needed.

    ``made_by`` names who answers (see ``SITE``); the worker ends with the process ``beside``.
    """

    folder: Path
    made_by: str = SITE
    beside: int = field(default_factory=os.getppid)
    start_within: float = 30.0
    _process: subprocess.Popen[bytes] | None = None

    def ask(self, letter: bytes, seconds: float) -> bytes:
        """The worker's answer. Raises LineError with a code, after ``seconds`` at the latest."""
        began = time.monotonic()
        try:
            kind, answer = self._exchanged(letter, seconds)
        except EOFError:
            # One that was ending as we came had not begun to work; a second try finds the next.
            if time.monotonic() - began > JUST_ENDED:
                raise LineError("worker_lost") from None
            try:
                kind, answer = self._exchanged(letter, seconds)
            except EOFError:
                raise LineError("worker_lost") from None
        if kind == ANSWER:
            return answer
        code = answer.decode("ascii", errors="replace")
        raise LineError(code if code in CODES else "unreadable")

    def wake(self) -> None:
        """Start the worker if none is there; does not wait for it."""
        try:
            connect(self.folder).close()
        except OSError:
            self._start()

    def stop(self, seconds: float = 5.0) -> None:
        """Ask the worker to end once it has answered, and wait so long for it."""
        try:
            with connect(self.folder) as line:
                line.settimeout(seconds)
                send(line, STOP, b"")
                receive(line)
        except (OSError, EOFError):
            return

    def _exchanged(self, letter: bytes, seconds: float) -> tuple[bytes, bytes]:
        with self._line(time.monotonic() + min(seconds, self.start_within)) as line:
            line.settimeout(seconds)
            try:
                send(line, ASK, letter)
                return receive(line)
            except TimeoutError:
                raise LineError("late") from None
            except OSError:
                raise EOFError from None

    def _line(self, until: float) -> socket.socket:
        while True:
            try:
                return connect(self.folder)
            except OSError:
                if time.monotonic() >= until:
                    raise LineError("worker_absent") from None
                self._start()
                time.sleep(0.05)

    def _start(self) -> None:
        # Two that are started at once do no harm: the second finds the folder locked and ends.
        if self._process is not None and self._process.poll() is None:
            return
        command = [sys.executable, "-m", "concilium.flower.worker", str(self.folder)]
        log = self.folder / "logs" / "worker.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 (our own module)
                [*command, "--made-by", self.made_by, "--beside", str(self.beside)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                umask=0o077,
            )


def connect(folder: Path) -> socket.socket:
    """A connection to the worker of a hospital's folder. Raises OSError where none listens."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_name(folder / FOLDER) as name:
            line.connect(name)
    except OSError:
        line.close()
        raise
    return line


@contextmanager
def short_name(folder: Path) -> Iterator[str]:
    """The socket's path in few letters: a socket's name has room for a hundred."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = Path(f"/proc/self/fd/{descriptor}")
        yield str((short if short.is_dir() else folder) / SOCKET)
    finally:
        os.close(descriptor)


def send(line: socket.socket, kind: bytes, content: bytes) -> None:
    """Send one message: its kind (one byte), its length, its bytes."""
    line.sendall(_HEAD.pack(kind, len(content)))
    if content:
        line.sendall(content)


def receive(line: socket.socket) -> tuple[bytes, bytes]:
    """One message: kind and bytes.

    Raises EOFError where the other side ends before it is whole, LineError for one too large.
    """
    kind, length = _HEAD.unpack(_exactly(line, _HEAD.size))
    if length > LARGEST:
        raise LineError("unreadable")
    return kind, _exactly(line, length)


def _exactly(line: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        part = line.recv(min(length - len(content), 2**20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)
