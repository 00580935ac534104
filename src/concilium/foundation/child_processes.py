"""What processes that work for this one need: deaf to Ctrl-C, and gone when this one is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """A process that is started within it does not hear Ctrl-C, which a terminal tells to all.

    It inherits that: whoever started it hears, and ends it. POSIX only.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """From now on this process ends as soon as its parent is gone: nobody would collect its work.

    For processes that ``multiprocessing`` started.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def wait() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
