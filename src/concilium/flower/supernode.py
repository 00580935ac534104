"""Flower's SuperNode at our pace: ``python -m concilium.flower.supernode`` with its arguments.

It looks for letters every three seconds, and is taken for dead a minute after it is: too slow for
rounds of seconds. Flower has no settings for that, so its constants are set here, by name; a test
holds that they are there in the version that we pin.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.run import RunNotRunningException

from concilium.flower.beside import end_with_parent

LOOK_EVERY, LOOK_WHEN_IDLE, ACTIVE = 0.2, 1.0, 20.0
"""Seconds between two looks for a letter: while there are some, and ``ACTIVE`` seconds after the
last one. Each look is a signed request to the coordinator."""

LOOK_FOR_ANSWER = 0.05
"""Seconds between two looks whether the client app has answered, in the node's own memory."""

NODE_BEAT = 10
"""Seconds: twice that after its last sign a node is unreachable. No shorter one is accepted."""

TASK_BEAT = 5
"""Seconds: twice that after its last sign a client app is taken for dead, by its own node."""

TRY_AGAIN_WITHIN = 3
"""Seconds between two tries at most while the coordinator does not answer; Flower waits up to 20,
in which a node that has been there all the time is taken for dead."""

LETTER_WITHIN, LOOK_FOR_PART = 30, 1
"""Seconds that a node waits for the coordinator to complete a letter, which it does on its own
machine, and between two looks for a part of it; Flower waits two hours, and hears nothing else in
the meantime. What takes long to fetch once it is there is not cut short."""

BEAT, WAIT = "HEARTBEAT_DEFAULT_INTERVAL", "MAX_RETRY_DELAY"

CONSTANTS = (
    ("flwr.supernode.fleet_http_connection", BEAT, NODE_BEAT),
    ("flwr.supercore.heartbeat", BEAT, NODE_BEAT),
    ("flwr.supercore.corestate.in_memory_corestate", BEAT, TASK_BEAT),
    ("flwr.supercore.retry.http_retry", WAIT, TRY_AGAIN_WITHIN),
)
"""Modules that read a constant, its name, and what it becomes."""


class Pauses:
    """What a node's loop takes for the clock: it sleeps three seconds where there was no letter,
    and half a second where there is no answer yet.
    """

    def __init__(self) -> None:
        self._active_until = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep as long as we think right."""
        if seconds < 1:
            self._active_until = time.monotonic() + ACTIVE
            time.sleep(LOOK_FOR_ANSWER)
        else:
            active = time.monotonic() < self._active_until
            time.sleep(LOOK_EVERY if active else LOOK_WHEN_IDLE)


def set_pace() -> None:
    """Set Flower's constants in this process."""
    for module, name, seconds in CONSTANTS:
        vars(importlib.import_module(module))[name] = seconds
    beats = vars(importlib.import_module("flwr.supercore.heartbeat"))
    beats["exponential"] = partial(_sooner, beats["exponential"])
    loop = vars(importlib.import_module("flwr.supernode.start_client_internal"))
    loop["time"] = Pauses()
    loop["pull_objects"] = partial(pull_letter, loop["pull_objects"])


def pull_letter(pull: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Fetch a letter's parts. Raises ObjectPullError where they do not come.

    Also where the run ends meanwhile, of which Flower makes another error: then the node would keep
    what it has of the letter, and its client app would wait for the rest.
    """
    try:
        return pull(*given, max_time=LETTER_WITHIN, backoff_cap=LOOK_FOR_PART, **named)
    except RunNotRunningException:
        raise ObjectPullError("", "the run is over") from None


def _sooner(waits: Callable[..., Any], max_delay: int) -> Any:
    return waits(max_delay=min(max_delay, TRY_AGAIN_WITHIN))


def main() -> None:
    """Start the SuperNode."""
    end_with_parent()
    set_pace()
    from flwr.supernode.cli import flower_supernode

    flower_supernode()


if __name__ == "__main__":
    main()
