"""Who executes a hospital's tasks: ``python -m concilium.flower.executor``.

Flower's own executor would unpack whatever bundle somebody has submitted and run its code beside
the hospital's data, in a new process for every message. This one takes the task, leaves the bundle
where it is, and answers with the client app that is installed here. It stays, so an exchange costs
no start of a process.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path

import httpx
from flwr.supercore.constant import TaskType

from concilium.flower import client_app
from concilium.flower.beside import end_with_parent
from concilium.flower.line import SITE, Resident
from concilium.flower.tasks import (
    Beating,
    Input,
    Place,
    acquire,
    finish,
    pull_message,
    push_message,
)
from concilium.flower.worker import place

LOOK_EVERY = 0.05
"""Seconds between two looks for a task."""

PATIENCE = 1.0
"""Seconds to wait when the SuperNode does not answer."""

LOG = logging.getLogger("concilium.executor")


def execute(where: Place, token: str, resident: Resident) -> None:
    """Answer the message of one task.

    A task that goes wrong is left alone: when it has shown no sign of life for a while, the
    SuperNode replies that its client app has crashed. It would wait for ever for one that has ended
    without a reply.
    """
    client = where.client(token)
    try:
        with Beating(client):
            begun = Input.pull(client)
            message = pull_message(client, begun)
            if message is not None:
                push_message(client, client_app.reply(message, resident), begun)
                finish(client, "completed")
    except Exception as error:  # the next task is another one
        LOG.error("a task failed: %s", place(error))
    finally:
        client.close()


def run(where: Place, resident: Resident) -> None:
    """Take tasks and execute them, one after the other, for ever."""
    client = where.client()
    while True:
        token = ""
        try:
            token = acquire(client, TaskType.CLIENT_APP)
        except httpx.HTTPError as error:
            LOG.warning("the SuperNode does not answer: %s", type(error).__name__)
            time.sleep(PATIENCE)
        if token:
            execute(where, token, resident)
        else:
            time.sleep(LOOK_EVERY)


def main() -> None:
    """Execute tasks of the SuperNode on the command line for the hospital's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--supernode", required=True, help="address of its Runtime interface")
    parser.add_argument("--secret", type=Path, required=True)
    parser.add_argument("--made-by", default=SITE)
    parser.add_argument("--beside", type=int, default=os.getppid())
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    end_with_parent()
    resident = Resident(arguments.folder, arguments.made_by, arguments.beside)
    resident.wake()
    run(Place(arguments.supernode, arguments.secret.read_bytes()), resident)


if __name__ == "__main__":
    main()
