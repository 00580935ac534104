"""A side in the foreground: tended every second, until somebody ends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TEND_EVERY = 1.0


@contextmanager
def until_ended() -> Iterator[None]:
    """The block runs until Ctrl-C or SIGTERM, which both end it well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def tend(*duties: Callable[[], object]) -> None:
    """Do all duties every second, for ever."""
    while True:
        for duty in duties:
            duty()
        time.sleep(TEND_EVERY)
