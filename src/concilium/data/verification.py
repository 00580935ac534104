"""A file's checksum, verified in full once and after that only where the file has changed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from concilium.foundation.files import sha256, write_json


def is_intact(path: Path, checksum: str, note: Path) -> bool:
    """Whether a file's SHA-256 is ``checksum``; False where there is no such file.

    The file is read from end to end unless ``note`` says that this was done, with success, since
    the file last changed: its inode, its size, the times of the last change of its content and of
    anything else about it (which no program can set back) are those that the note holds, and all
    times are before the note's own. So whatever was written to the file is noticed. Not noticed are
    bits that rot on the disk later on, without a write: remove the note to have all read again.
    """
    if not path.is_file():
        return False
    stamp = _stamp(path)
    if _noted(note) == [checksum, *stamp] and max(stamp[2:]) < note.stat().st_mtime_ns:
        return True
    if sha256(path) != checksum or _stamp(path) != stamp:
        return False
    with suppress(OSError):  # a cache that may only be read is read in full each time
        write_json(note, [checksum, *stamp])
    return True


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _noted(note: Path) -> object:
    try:
        return json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        return None
