"""The processes of both sides: started, found ready, tended and ended, with their children.

    coordinator's folder              hospital's folder
      ca.crt server.crt server.key      ca.crt node.key
      members/NAME.pub                  (whatever the hospital's site needs)
      state.db flower/ logs/            flower/ logs/ worker/

Telemetry, update checks and the installation of packages at run time are off; every process has its
own Flower home in its folder, writes its log there, and ends with the one that has started it.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from concilium.flower.beside import BESIDE
from concilium.flower.keys import AUTHORITY, write_secret
from concilium.foundation.errors import FederationError

LOGS, SECRET, HOME = "logs", "executor.secret", "flower"
START_WITHIN = 60.0
"""Seconds within which a process must be ready."""

OFF = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_INTERNAL_GRPC_CONTROL_API": "0",
    "FLWR_INTERNAL_GRPC_FLEET_API": "0",
}


@dataclass
class Process:
    """A module of ours that runs as a process, with its children in a group of its own."""

    module: str
    arguments: Sequence[str]
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _log_began: int = 0

    @property
    def log(self) -> Path:
        """Where it writes."""
        return self.folder / LOGS / f"{self.module.rpartition('.')[2]}.log"

    @property
    def pid(self) -> int:
        """Its number; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; what it wrote earlier stays in its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 (our own modules)
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**environment(self.folder), **self.settings},
                start_new_session=True,
                umask=0o077,  # letters on their way and logs are their owner's alone
            )

    def said(self) -> str:
        """What it has written since it was started."""
        with self.log.open("rb") as file:
            file.seek(self._log_began)
            return file.read().decode(errors="replace")

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until it is ready. Raises FederationError where it ends before, or takes longer."""
        until = time.monotonic() + seconds
        while not ready():
            if not self.is_alive or time.monotonic() > until:
                how = "did not get ready" if self.is_alive else "ended"
                said = " | ".join(self.said().strip().splitlines()[-6:])
                raise FederationError(f"{self.module} {how}; {self.log} says: {said}")
            time.sleep(0.1)

    def stop(self, seconds: float = 5.0) -> None:
        """End it and its children: kindly at first, then not."""
        if self._process is None:
            return
        if self.is_alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process: this one's, with a Flower home and nothing that calls home."""
    own = {"FLWR_HOME": str(folder / HOME), BESIDE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    # What runs on this machine is not reached through a proxy.
    here = {
        name: ",".join(filter(None, [os.environ.get(name, ""), "127.0.0.1,localhost"]))
        for name in ("NO_PROXY", "no_proxy")
    }
    return {**os.environ, **OFF, **own, **here}


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def secret_of(folder: Path) -> Path:
    """The file of the secret by which a folder's own executor is known; made where missing."""
    path = folder / SECRET
    if not path.exists():
        write_secret(path, secrets.token_bytes(32))
    return path


def authority_of(folder: Path) -> Path:
    """The certificate of whoever signs for the coordinator. Raises FederationError without one."""
    path = folder / AUTHORITY
    if not path.is_file():
        raise FederationError(f"{path} is missing: it comes from the coordinator")
    return path
