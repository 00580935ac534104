"""``concilium federation coordinator`` and ``hospital``: one side, in the foreground."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from concilium.cli.federation.folders import Home
    from concilium.flower.sides import Coordinator

Say = Callable[[str], None]


def coordinator(
    folder: Annotated[Path, typer.Argument(help="The coordinator's folder.")],
) -> None:
    """Run the coordinator's side until Ctrl-C: Flower's server, and who conducts runs.

    What ends by itself is started again; telemetry, update checks and installs at run time are off.

    Example: `concilium federation coordinator trial/coordinator`
    """
    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.folders import held, read_home
    from concilium.cli.federation.foreground import tend, until_ended
    from concilium.flower.sides import Coordinator

    home, say = read_home(folder), _sayer()
    side = Coordinator(home.folder, home.port, home.listen)
    with held(home.folder, "coordinator"), until_ended():
        say("starting")
        try:
            side.start()
            say(f"ready on {home.listen}:{home.port}; ends with Ctrl-C")
            tend(lambda: _restarted(side.tend(), say), _Members(side, home, say))
        finally:
            say("ending")
            side.stop()


def hospital(
    folder: Annotated[Path, typer.Argument(help="The hospital's folder.")],
) -> None:
    """Run a hospital's side until Ctrl-C: it asks the coordinator for questions, and answers.

    Nobody has to reach this machine. Only the studies in its folder are answered, only by the code
    that is installed here.

    Example: `concilium federation hospital trial/north`
    """
    from concilium.cli.federation.needs import needs_flower

    needs_flower()
    from concilium.cli.federation.folders import address_of, held
    from concilium.cli.federation.foreground import tend, until_ended
    from concilium.deployment.policy import read_hospital
    from concilium.flower.sides import Hospital
    from concilium.foundation.errors import FederationError

    own, address, say = read_hospital(folder), address_of(folder), _sayer()
    side = Hospital(folder, address)
    with held(folder, "hospital"), until_ended():
        say(f"{own.name}: starting, coordinator at {address}")
        try:
            side.start()
            say(f"{own.name}: online; ends with Ctrl-C")
            tend(lambda: _restarted(side.tend(), say), _Letters(folder, say))
        except FederationError as error:
            raise FederationError(f"{_meaning(str(error))}\n  {error}") from None
        finally:
            say("ending")
            side.stop()


def _sayer() -> Say:
    """Print a line with the time."""
    from rich.console import Console

    console = Console()

    def say(text: str) -> None:
        now = time.strftime("%H:%M:%S")
        console.print(f"{now} {text}", markup=False, highlight=False, soft_wrap=True)

    return say


def _restarted(names: list[str], say: Say) -> None:
    for name in names:
        say(f"{name.rpartition('.')[2]} had ended, and is started again")


class _Members:
    """Lets those in whose keys are new in the folder, and says who comes and goes."""

    def __init__(self, side: Coordinator, home: Home, say: Say) -> None:
        self._side, self._home, self._say = side, home, say
        self._status: dict[str, str] = {}
        self._keys: dict[str, bytes] = {}

    def __call__(self) -> None:
        from concilium.flower.keys import members
        from concilium.foundation.errors import DataError, FederationError

        try:
            known = members(self._home.folder)
            if known != self._keys:
                self._side.admit()
                self._keys = known
            found = {node.key: node.status for node in self._side.commands.nodes()}
        except DataError as error:  # said once, and the others go on
            self._changed("members", str(error))
            return
        except FederationError:
            return  # it is being started again
        for name, key in known.items():
            self._changed(name, found.get(key, "unknown"))

    def _changed(self, name: str, status: str) -> None:
        if self._status.get(name) != status:
            self._say(f"{name}: {status}")
            self._status[name] = status


class _Letters:
    """Says what the hospital answers and refuses, from its own log."""

    def __init__(self, folder: Path, say: Say) -> None:
        from concilium.deployment.diary import FILE

        self._path, self._say = folder / FILE, say
        self._after = self._path.stat().st_size if self._path.exists() else 0

    def __call__(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            if self._path.stat().st_size < self._after:  # a new log was begun
                self._after = 0
            file.seek(self._after)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._after += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._say(line.partition(" ")[2])


def _meaning(said: str) -> str:
    """What keeps a hospital out, in words."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return (
            "the server is not the one that ca.crt vouches for: compare ca.crt, the name in "
            "coordinator.txt, and the names in server.crt"
        )
    return (
        "the coordinator did not let this hospital in: is it running, is coordinator.txt right, "
        "and is this hospital's key admitted there?"
    )
