"""A hospital's resident worker: ``python -m concilium.flower.worker FOLDER``.

One process that imports the heavy libraries once, keeps data and caches, and answers one letter
after the other. It ends with its SuperNode, or when it is told to. What goes wrong is written into
the hospital's own log by type and place; who asked gets a code.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from concilium.flower.beside import end_with
from concilium.flower.line import (
    ANSWER,
    ASK,
    CODE,
    FOLDER,
    SITE,
    SOCKET,
    STOP,
    LineError,
    receive,
    send,
    short_name,
)
from concilium.foundation.errors import ConciliumError
from concilium.foundation.files import locked

LOG = logging.getLogger("concilium.worker")

PATIENCE = 60.0
"""Seconds within which a letter must have come in whole: who asks is a process of this machine."""


class Answering(Protocol):
    """Who answers letters; never raises, by its own promise."""

    def answer(self, question: bytes) -> bytes:
        """Answer one letter."""
        ...


class BusyError(ConciliumError):
    """Another worker serves this folder."""


class Worker:
    """Answers one letter after the other with the object that ``made_by`` makes of the folder.

    The object is made at the first letter, and made anew as long as that fails: a mistake in the
    hospital's file is mended without a restart.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        self._folder, self._made_by = folder, made_by
        self._site: Answering | None = None

    def answer(self, letter: bytes) -> tuple[bytes, bytes]:
        """Kind and bytes of what goes back."""
        try:
            if self._site is None:
                self._site = load(self._made_by)(self._folder)
            return ANSWER, self._site.answer(letter)
        except Exception as error:  # whatever it is, its text stays here
            LOG.error("%s", place(error))
            return CODE, b"worker_failed"

    def serve(self, listening: socket.socket) -> None:
        """Answer until somebody says stop; a connection that breaks is that one's end only."""
        while True:
            line, _ = listening.accept()
            with line:
                try:
                    if not self._serve_one(line):
                        return
                except (OSError, EOFError, LineError) as error:
                    LOG.warning("a connection ended: %s", type(error).__name__)

    def _serve_one(self, line: socket.socket) -> bool:
        line.settimeout(PATIENCE)
        kind, letter = receive(line)
        if kind == STOP:
            with suppress(OSError):  # whoever said so need not wait for it
                send(line, ANSWER, b"")
            return False
        send(line, *(self.answer(letter) if kind == ASK else (CODE, b"unreadable")))
        return True


def load(name: str) -> Callable[[Path], Answering]:
    """What ``module:name`` stands for."""
    module, _, attribute = name.partition(":")
    found: Callable[[Path], Answering] = getattr(importlib.import_module(module), attribute)
    return found


def place(error: BaseException) -> str:
    """Type and place of an error, without its text: a path or a patient's number may stand there.

    >>> try:
    ...     int("patient 17")
    ... except ValueError as error:
    ...     "patient" in place(error), place(error).startswith("ValueError at ")
    (False, True)
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = (
        f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
    )
    return f"{type(error).__name__} at {where}"


def listen(folder: Path) -> socket.socket:
    """The socket of a hospital's folder; only its owner may enter where it lies."""
    home = folder / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / SOCKET).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with short_name(home) as name:
            listening.bind(name)
    finally:
        os.umask(before)
    listening.listen(16)
    return listening


def main() -> None:
    """Serve the folder of the command line; end quietly where another worker does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--made-by", default=SITE)
    parser.add_argument("--beside", type=int, default=os.getppid())
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = arguments.folder.resolve()
    end_with(arguments.beside, lambda: os._exit(0))
    try:
        with locked(folder / FOLDER, BusyError()), listen(folder) as listening:
            LOG.info("ready")
            Worker(folder, arguments.made_by).serve(listening)
    except BusyError:
        return
    LOG.info("ended")


if __name__ == "__main__":
    main()
