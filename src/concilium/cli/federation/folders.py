"""What stands in a coordinator's and in a hospital's folder, and where each finds the other.

coordinator/                            HOSPITAL/
  coordinator.toml  where it listens      hospital.toml    who it is, its exams, its policy
  ca.crt ca.key     the authority         ca.crt           the authority, to know the server by
  server.crt .key   its server            coordinator.txt  the coordinator's HOST:PORT
  members/NAME.pub  who takes part        node.key NAME.pub  its own key; the first stays
  studies/          what it has started   studies/         what it answers
  runs/             run folders           memory/ cache/ logs/
"""

from __future__ import annotations

import fcntl
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from concilium.foundation.errors import InputError, Problem, StudyError
from concilium.foundation.files import locked, write_atomically

COORDINATOR, ADDRESS = "coordinator.toml", "coordinator.txt"
HOSPITAL = "hospital.toml"
RUNS = "runs"
PORT = 9443
HERE = ("localhost", "127.0.0.1", "::1")

SETTINGS = """\
# Where this coordinator listens. One port serves everything; hospitals reach it from outside,
# nobody has to reach a hospital. Commands (admit, start, stop) come from this machine alone.

# The interface: "127.0.0.1" is this machine alone, "0.0.0.0" all interfaces.
listen = {listen}
port = {port}

# Names under which hospitals reach this machine. They stand in server.crt; to change them, make a
# new certificate.
hosts = {hosts}
"""


@dataclass(frozen=True)
class Home:
    """A coordinator's folder: where it listens, and the names that its certificate has."""

    folder: Path
    listen: str
    port: int
    hosts: tuple[str, ...]

    @property
    def address(self) -> str:
        """Where commands of this machine reach it."""
        return f"127.0.0.1:{self.port}"

    @property
    def runs(self) -> list[Path]:
        """Its run folders, ascending."""
        return sorted(path for path in (self.folder / RUNS).glob("*") if path.is_dir())


def write_home(folder: Path, hosts: tuple[str, ...], port: int) -> Home:
    """Write the file of a coordinator that hospitals reach under these names (none: here only)."""
    listen = "127.0.0.1" if all(host in HERE for host in hosts) else "0.0.0.0"  # noqa: S104
    text = SETTINGS.format(
        listen=json.dumps(listen), port=port, hosts=json.dumps(list(hosts), ensure_ascii=False)
    )
    write_atomically(folder / COORDINATOR, text.encode())
    return Home(folder.resolve(), listen, port, hosts)


def read_home(folder: Path) -> Home:
    """The coordinator of a folder. Raises StudyError for a folder that is none."""
    path = folder / COORDINATOR
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        home = Home(folder.resolve(), found["listen"], found["port"], tuple(found.get("hosts", ())))
        checked_port(home.port)
    except (FileNotFoundError, NotADirectoryError):
        remedy = "give a coordinator's folder, or make one with `concilium federation init`"
        raise StudyError(Problem(str(path), "there is no such file", remedy)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        what = f"cannot be used ({type(error).__name__}: {error})"
        raise StudyError(Problem(str(path), what, 'give listen = "127.0.0.1", port = …')) from None
    return home


def checked_port(port: object) -> int:
    """A port. Raises InputError for another number."""
    if not (type(port) is int and 1 <= port <= 65535):
        raise InputError(f"port {port!r} must be a whole number from 1 to 65535")
    return port


def checked_address(address: str) -> str:
    """HOST:PORT. Raises InputError for anything else."""
    host, colon, port = address.strip().rpartition(":")
    if not (host and colon and port.isdigit()):
        what = f"{address.strip()!r} is no address"
        raise InputError(Problem("", what, f"give HOST:PORT, say hospital.example:{PORT}"))
    checked_port(int(port))
    return f"{host}:{port}"


def address_of(folder: Path) -> str:
    """Where a hospital finds the coordinator. Raises StudyError where it is not said."""
    path = folder / ADDRESS
    try:
        return checked_address(path.read_text(encoding="utf-8"))
    except OSError:
        remedy = "write HOST:PORT of the coordinator into it"
        raise StudyError(Problem(str(path), "cannot be read", remedy)) from None
    except InputError as error:
        raise StudyError(Problem(str(path), str(error))) from None


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold a side's folder for this process. Raises StudyError where another runs that side."""
    problem = Problem(str(folder), f"this {what} runs already", "end the other process first")
    with locked(folder, StudyError(problem)):
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder, without holding it."""
    path = folder / ".lock"
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
