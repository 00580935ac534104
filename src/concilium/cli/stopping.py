"""How a run that was interrupted tells the command line that it can be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoppedError(Exception):
    """Interrupted, with something to go on from; its text is what the user is told."""


@contextmanager
def resumable(run: Path) -> Iterator[None]:
    """Turn an interruption of the block into StoppedError where the run folder has been opened.

    Before that there is nothing to resume, and the interruption stays what it is.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not (run / "manifest.json").exists():
            raise
        raise StoppedError("stopped; what is committed stays, go on with --resume") from None
