"""Who executes a coordinator's runs: ``python -m concilium.flower.conductor``.

As at a hospital, code that somebody has submitted is left where it is: each run is a process of the
server app that is installed here, with the settings of the run. One that is killed is reported as
failed at once; Flower would notice after a minute.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.supercore.constant import TaskType
from flwr.superlink.grid import HttpGrid

from concilium.flower.beside import BESIDE, end_with_parent
from concilium.flower.executor import LOOK_EVERY, PATIENCE
from concilium.flower.server_app import FAILED
from concilium.flower.tasks import Beating, Input, Place, acquire, finish, read_authority
from concilium.flower.worker import place

LOG = logging.getLogger("concilium.conductor")

ENDED = "the run's process has ended; resume the run"


@dataclass(frozen=True)
class Running:
    """A run in its own process."""

    token: str
    process: subprocess.Popen[bytes]


def begin(arguments: argparse.Namespace, token: str) -> Running:
    """Start the process of a run; it reads its token from where nobody else can."""
    command = [sys.executable, "-m", "concilium.flower.conductor", "--superlink"]
    command += [arguments.superlink, "--authority", str(arguments.authority), "--run"]
    process = subprocess.Popen(  # noqa: S603 (our own module)
        command, stdin=subprocess.PIPE, env={**os.environ, BESIDE: str(os.getpid())}
    )
    assert process.stdin is not None
    process.stdin.write(token.encode())
    process.stdin.close()
    return Running(token, process)


def reported(where: Place, running: Running) -> bool:
    """Whether a run's process has ended; where it could not say so itself, this is done for it."""
    status = running.process.poll()
    if status is None:
        return False
    if status != 0:
        client = where.client(running.token)
        try:
            finish(client, "failed", ENDED)
        except httpx.HTTPError as error:
            LOG.warning("the SuperLink was not told of a run's end: %s", type(error).__name__)
        finally:
            client.close()
    return True


def look_for_runs(arguments: argparse.Namespace, where: Place) -> None:
    """Start the process of each run that is asked for, for ever."""
    client, runs = where.client(), list[Running]()
    while True:
        try:
            if token := acquire(client, TaskType.SERVER_APP):
                runs.append(begin(arguments, token))
        except httpx.HTTPError as error:
            LOG.warning("the SuperLink does not answer: %s", type(error).__name__)
            time.sleep(PATIENCE)
        runs = [running for running in runs if not reported(where, running)]
        time.sleep(LOOK_EVERY)


def run_one(where: Place, token: str) -> bool:
    """The run of a token: its input, its study, its outcome. Whether the outcome was told."""
    from concilium.flower import server_app

    grid = HttpGrid(where.address, where.authority is None, where.authority, token=token)
    client = where.client(token)
    try:
        with Beating(client):
            begun = Input.pull(client)
            grid.set_run(begun.run)
            good = server_app.run(grid, begun.run.override_config)
            finish(client, *(("completed", "") if good else ("failed", FAILED)))
    except Exception as error:  # the one who started this process tells of it
        LOG.error("a run failed: %s", place(error))
        return False
    finally:
        client.close()
        grid.close()
    return True


def main() -> None:
    """Execute runs of the SuperLink on the command line, or the one of the token on the input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--superlink", required=True)
    parser.add_argument("--authority", type=Path, required=True)
    parser.add_argument("--secret", type=Path)
    parser.add_argument("--run", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    end_with_parent()
    secret = arguments.secret.read_bytes() if arguments.secret else b""
    where = Place(arguments.superlink, secret, read_authority(arguments.authority))
    if arguments.run:
        sys.exit(0 if run_one(where, sys.stdin.read()) else 1)
    look_for_runs(arguments, where)


if __name__ == "__main__":
    main()
