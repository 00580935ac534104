"""A hospital's own log of what it was asked and what it answered: kinds, sizes, codes, places.

It stays at the hospital, and even so holds no text of an error and nothing that was sent.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

FILE = Path("logs") / "site.log"
MOST_BYTES = 2**22
"""Of the log; the one before is kept once."""
LONGEST = 500
"""Characters of a line."""


@dataclass(frozen=True)
class Diary:
    """The log of the hospital in a folder."""

    folder: Path

    def note(self, text: str) -> None:
        """Write one line with the time, cut to ``LONGEST``. A disk that is full ends nothing."""
        path = self.folder / FILE
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > MOST_BYTES:
                path.replace(path.with_suffix(".before.log"))
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{moment} {text[:LONGEST]}\n")


def place_of(error: BaseException) -> str:
    """Type and place in our code of an error and of its cause, without their texts.

    >>> try:
    ...     int("patient 17")
    ... except ValueError as error:
    ...     place_of(error).startswith("ValueError"), "patient" in place_of(error)
    (True, False)
    """
    own = [
        f"{frame.f_globals['__name__']}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith("concilium.")
    ]
    text = type(error).__name__ + (f" at {own[-1]}" if own else "")
    cause = error.__cause__
    return text if cause is None else f"{text}, from {place_of(cause)}"
