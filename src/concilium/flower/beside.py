"""Processes that end with another one: nothing of a federation is left behind by a kill."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

BESIDE = "CONCILIUM_BESIDE"
"""The environment variable with the number of the process that this one must not outlive."""


def wait_for_end(pid: int) -> None:
    """Return when the process is gone; at once where there is none of that number."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # no such descriptors here: look again and again
        while _is_there(pid):
            time.sleep(0.5)
        return
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def end_with(pid: int, how: Callable[[], None]) -> None:
    """Call ``how`` from a thread of its own as soon as the process is gone."""

    def watch() -> None:
        wait_for_end(pid)
        how()

    threading.Thread(target=watch, name="beside", daemon=True).start()


def end_with_parent() -> None:
    """End this process at once when the one named in the environment is gone, if any is named."""
    if pid := os.environ.get(BESIDE):
        end_with(int(pid), lambda: os._exit(1))


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
