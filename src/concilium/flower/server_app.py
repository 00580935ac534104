"""The coordinator's side of a run: the study is run over the carrier, in the run folder.

Nobody may start what the coordinator's own people have not put into its folder: study and run
folder are named relative to it. What goes wrong stands in ``error.txt`` of the run folder; Flower,
which keeps texts of errors in its database, is told that it stands there.
"""

from __future__ import annotations

import importlib
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from concilium.flower.grid import GridCarrier
from concilium.flower.keys import members
from concilium.foundation.errors import ConciliumError, InputError, Problem
from concilium.foundation.files import write_atomically
from concilium.orchestration.carriers import Carrier, Terms

COORDINATOR, CONDUCTED_BY = "CONCILIUM_COORDINATOR", "CONCILIUM_CONDUCTED_BY"
"""Environment variables: the coordinator's folder; who conducts, if not ``CONDUCTOR``."""

CONDUCTOR = "concilium.flower.conducting:conduct"
"""Who runs a study: a function of (carrier, study file, run folder, terms)."""

ERROR = "error.txt"
FAILED = f"the run failed; {ERROR} in its run folder says why"

TERMS = tuple(own.name for own in fields(Terms))
"""Settings of a run besides "study" and "out"; see ``Terms``."""

LONGER = 30.0
"""Seconds that a letter outlasts an exchange's deadline, which is the coordinator's to see to."""

LOG = logging.getLogger("concilium.server_app")

Conductor = Callable[[Carrier, Path, Path, Terms], object]

app = ServerApp()


class RunFailedError(Exception):
    """A run that failed, without the reason: that is the coordinator's own to read."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study of the run's settings; for a SuperLink that is run the usual way."""
    if not run(grid, context.run_config):
        raise RunFailedError(FAILED)


def run(grid: Grid, settings: Mapping[str, Any]) -> bool:
    """Run a study over the grid; whether it came to its end. Raises nothing."""
    home = Path(os.environ.get(COORDINATOR, "."))
    try:
        out = inside(home, "out", settings)
    except ConciliumError as error:
        LOG.error("%s", error)
        return False
    try:
        (out / ERROR).unlink(missing_ok=True)
        study = inside(home, "study", settings)
        given = {key: settings[key] for key in TERMS if key in settings}
        terms = Terms(**given)
        carrier = GridCarrier(grid, members(home), terms.deadline + LONGER)
        load(os.environ.get(CONDUCTED_BY, CONDUCTOR))(carrier, study, out, terms)
    except (Exception, KeyboardInterrupt) as error:  # the border: nothing of it is Flower's
        LOG.error("the run failed", exc_info=error)
        write_atomically(out / ERROR, f"{said_of(error)}\n".encode())
        return False
    return True


def inside(home: Path, key: str, settings: Mapping[str, Any]) -> Path:
    """The path of a setting, which must lie inside the coordinator's folder.

    Raises InputError for one that is missing or lies elsewhere.
    """
    value = settings.get(key)
    home = home.resolve()
    path = (home / value).resolve() if isinstance(value, str) and value else home
    if path == home or not path.is_relative_to(home):
        what = f"{value!r} is no path inside the coordinator's folder"
        raise InputError(Problem(key, what, "copy it there, and name it relative to that folder"))
    return path


def load(name: str) -> Conductor:
    """What ``module:name`` stands for."""
    module, _, attribute = name.partition(":")
    found: Conductor = getattr(importlib.import_module(module), attribute)
    return found


def said_of(error: BaseException) -> str:
    """An error in words for the coordinator: our own message, or what an unexpected one says."""
    if isinstance(error, ConciliumError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "the run was interrupted; resume it"
    return "".join(traceback.format_exception(error))
