"""Files that are written whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is the old one or the new one, never a part.

    The content goes to a neighbour first, is flushed to the disk, and then takes the name; the
    folder is flushed too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with neighbour.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write plain values as JSON, whole or not at all; NaN becomes null."""
    write_atomically(path, (json.dumps(plain(value), indent=1) + "\n").encode())


def plain(value: Any) -> Any:
    """Arrays, mappings and numbers as JSON can hold them; NaN and infinities become None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


@contextmanager
def locked(folder: Path, otherwise: Exception) -> Iterator[None]:
    """Hold a folder for this process alone; it is made. Raises ``otherwise`` where another has it.

    Whoever is killed lets go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise otherwise from None
        yield


def file_name(name: str) -> str:
    """A name from a user's data as one file's name, whatever it holds; different stay different.

    >>> file_name("St. Mary"), file_name("../x"), file_name(".")
    ('St. Mary', '%2E.%2Fx', '%2E')
    """
    quoted = quote(name, safe=" ")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
