"""The two sides of a federation as processes: the coordinator's, and a hospital's."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from concilium.flower import server_app
from concilium.flower.control import Commands
from concilium.flower.keys import AUTHORITY, CERTIFICATE, CERTIFICATE_KEY, NODE_KEY, members
from concilium.flower.line import SITE, Resident
from concilium.flower.processes import (
    START_WITHIN,
    Process,
    authority_of,
    free_port,
    secret_of,
)
from concilium.foundation.checks import one_of
from concilium.foundation.errors import FederationError

LISTENING = ("127.0.0.1", "0.0.0.0")  # noqa: S104 (the latter only where it is asked for)

AGAIN_AFTER = 2.0
"""Seconds between two starts of a process that has ended."""


@dataclass
class Coordinator:
    """SuperLink and conductor of a coordinator's folder.

    ``host`` is what to listen on: "127.0.0.1", or "0.0.0.0" to be reached from other machines;
    commands come over the former either way. ``conducted_by`` names who runs a study, if not
    ``server_app.CONDUCTOR``.
    """

    folder: Path
    port: int
    host: str = "127.0.0.1"
    conducted_by: str = server_app.CONDUCTOR
    superlink: Process = field(init=False)
    conductor: Process = field(init=False)
    _tended: float = 0.0

    def __post_init__(self) -> None:
        one_of(LISTENING, host=self.host)
        folder = self.folder = self.folder.resolve()
        secret, authority = secret_of(folder), authority_of(folder)
        self.superlink = Process(
            "concilium.flower.superlink",
            [
                *("--ssl-ca-certfile", str(folder / AUTHORITY)),
                *("--ssl-certfile", str(folder / CERTIFICATE)),
                *("--ssl-keyfile", str(folder / CERTIFICATE_KEY)),
                *("--enable-supernode-auth", "--isolation", "process"),
                *("--superexec-auth-secret-file", str(secret)),
                *("--host", self.host, "--port", str(self.port)),
                *("--database", str(folder / "state.db")),
            ],
            folder,
        )
        self.conductor = Process(
            "concilium.flower.conductor",
            ["--superlink", self.address, "--secret", str(secret), "--authority", str(authority)],
            folder,
            {server_app.COORDINATOR: str(folder), server_app.CONDUCTED_BY: self.conducted_by},
        )

    @property
    def address(self) -> str:
        """Where this machine reaches it."""
        return f"127.0.0.1:{self.port}"

    @property
    def commands(self) -> Commands:
        """Commands to its SuperLink."""
        return Commands(self.address, self.folder / AUTHORITY)

    def start(self, seconds: float = START_WITHIN) -> None:
        """Start both, and let the members take part. Raises FederationError where that fails."""
        try:
            self.superlink.start()
            self.superlink.wait_until(self._answers, seconds)
            self.admit()
            self.conductor.start()
        except BaseException:
            self.stop()
            raise

    def admit(self) -> None:
        """Let every hospital whose key lies in ``members`` take part."""
        for name, key in members(self.folder).items():
            self.commands.register(name, key)

    def tend(self) -> list[str]:
        """Start again what has ended; its names. To be called every second or so."""
        if time.monotonic() - self._tended < AGAIN_AFTER:
            return []
        self._tended = time.monotonic()
        return _started_again([self.superlink, self.conductor])

    def stop(self) -> None:
        """End both."""
        self.conductor.stop()
        self.superlink.stop()

    def _answers(self) -> bool:
        try:
            self.commands.nodes()
        except FederationError:
            return False
        return True


@dataclass
class Hospital:
    """SuperNode, client app and worker of a hospital's folder.

    ``coordinator`` is its address with the port; ``port`` one of this machine (default: a free
    one), for the hospital's own processes; ``made_by`` names who answers, if not ``line.SITE``.
    """

    folder: Path
    coordinator: str
    port: int = field(default_factory=free_port)
    made_by: str = SITE
    supernode: Process = field(init=False)
    executor: Process = field(init=False)
    _tended: float = 0.0

    def __post_init__(self) -> None:
        folder = self.folder = self.folder.resolve()
        self.supernode = Process(
            "concilium.flower.supernode",
            [
                *("--root-certificates", str(authority_of(folder))),
                *("--superlink", self.coordinator),
                *("--auth-supernode-private-key", str(folder / NODE_KEY)),
                *("--host", "127.0.0.1", "--port", str(self.port), "--isolation", "process"),
                *("--superexec-auth-secret-file", str(secret_of(folder))),
            ],
            folder,
        )
        self.executor = Process("concilium.flower.executor", [], folder)

    @property
    def is_online(self) -> bool:
        """Whether its node runs and was let in."""
        return self.supernode.is_alive and "SuperNode ID:" in self.supernode.said()

    def start(self, seconds: float = START_WITHIN) -> None:
        """Start all, and wait until the coordinator has let the node in.

        A node that was killed is let in again some twenty seconds later, when the coordinator has
        noticed. Raises FederationError where it is refused until then.
        """
        until = time.monotonic() + seconds
        why: FederationError | None = None
        while True:
            try:
                self._start_node(max(until - time.monotonic(), 1.0))
                return
            except FederationError as error:
                # What a node that has ended said is worth more than that a later one took too long.
                why = error if why is None or not self.supernode.is_alive else why
                self.stop()
                if time.monotonic() + AGAIN_AFTER > until:
                    raise why from None
                time.sleep(AGAIN_AFTER)
            except BaseException:
                self.stop()
                raise

    def tend(self) -> list[str]:
        """Start again what has ended; its names. To be called every second or so."""
        if time.monotonic() - self._tended < AGAIN_AFTER:
            return []
        self._tended = time.monotonic()
        again = _started_again([self.supernode])
        if again or not self.executor.is_alive:
            self._start_executor()
            again.append(self.executor.module)
        return again

    def stop(self) -> None:
        """End all."""
        self.executor.stop()
        Resident(self.folder, self.made_by).stop(seconds=1.0)
        self.supernode.stop()

    def _start_node(self, seconds: float) -> None:
        self.supernode.start()
        self._start_executor()
        self.supernode.wait_until(lambda: self.is_online, seconds)

    def _start_executor(self) -> None:
        self.executor.stop()
        self.executor.arguments = [
            *(str(self.folder), "--supernode", f"127.0.0.1:{self.port}"),
            *("--secret", str(secret_of(self.folder)), "--made-by", self.made_by),
            *("--beside", str(self.supernode.pid)),
        ]
        self.executor.start()


def _started_again(processes: list[Process]) -> list[str]:
    ended = [process for process in processes if not process.is_alive]
    for process in ended:
        process.start()
    return [process.module for process in ended]
