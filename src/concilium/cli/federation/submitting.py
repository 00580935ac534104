"""A run at the coordinator: what is started, whether it goes on, and how it is stopped.

RUN/submitted.json   the study's file in the coordinator's folder, the terms, Flower's number of it
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from concilium.cli.federation.folders import RUNS, Home, is_held
from concilium.deployment.allowed import FOLDER, allow
from concilium.flower.bundle import write_bundle
from concilium.flower.control import Commands
from concilium.flower.keys import AUTHORITY, members
from concilium.flower.server_app import ERROR
from concilium.foundation.errors import FederationError, InputError, Problem, StudyError
from concilium.foundation.files import write_json
from concilium.orchestration.carriers import Terms

SUBMITTED = "submitted.json"
WAITING = ("pending", "starting")


@dataclass(frozen=True)
class Run:
    """A run folder of a coordinator, and what was submitted for it."""

    home: Home
    folder: Path
    study: Path
    terms: Terms
    number: int

    @property
    def commands(self) -> Commands:
        """Commands to the coordinator's SuperLink."""
        return commands_of(self.home)

    @property
    def goes_on(self) -> bool:
        """Whether it waits to begin, or a process works on it."""
        return is_held(self.folder) or self.commands.run(self.number).status in WAITING

    def again(self, terms: Terms) -> Run:
        """Submit it again: it goes on from its last committed round."""
        return _submitted(self.home, self.folder, self.study, terms)


def commands_of(home: Home) -> Commands:
    """Commands to a coordinator of this machine."""
    return Commands(home.address, home.folder / AUTHORITY)


def check_runs(home: Home) -> None:
    """Raise FederationError, which says how to start it, unless the coordinator answers."""
    try:
        commands_of(home).nodes()
    except FederationError as error:
        raise FederationError(
            f"{error}\n  start it: concilium federation coordinator {home.folder}"
        ) from None


def submit(home: Home, study: Path, out: Path | None, terms: Terms) -> Run:
    """Put a study into the coordinator's folder and start it.

    Raises StudyError for a study that is none for a federation, or a run folder that is in use or
    lies elsewhere, and FederationError where the coordinator does not run, or has too few members.
    """
    folder = _run_folder(home, study, out)
    digest = allow(study, home.folder)
    known = members(home.folder)
    if len(known) < terms.quorum:
        raise InputError(
            Problem(
                "--quorum",
                f"{terms.quorum} hospitals are asked for, {len(known)} are admitted",
                "admit more with `concilium federation admit`, or ask for fewer",
            )
        )
    return _submitted(home, folder, home.folder / FOLDER / f"{digest}.toml", terms)


def run_of(home: Home, folder: Path) -> Run:
    """The run of a folder. Raises StudyError where none was started in it."""
    folder = inside(home, folder)
    try:
        found: Mapping[str, Any] = json.loads((folder / SUBMITTED).read_text(encoding="utf-8"))
        terms = Terms(**found["terms"])
        return Run(home, folder, home.folder / found["study"], terms, found["number"])
    except FileNotFoundError:
        known = ", ".join(path.name for path in home.runs) or "none"
        remedy = f"give a run folder of this coordinator (there are: {known})"
        raise StudyError(Problem(str(folder), "no run was started there", remedy)) from None


def inside(home: Home, folder: Path) -> Path:
    """A run folder by its path, or by its name among the coordinator's runs.

    Raises StudyError for one that lies elsewhere.
    """
    below = home.folder.resolve()
    for path in (folder.resolve(), below / RUNS / folder, below / folder):
        if path.resolve() != below and path.resolve().is_relative_to(below):
            return path.resolve()
    what = "lies outside of the coordinator's folder"
    raise StudyError(Problem(str(folder), what, f"give a folder below {home.folder}"))


def _run_folder(home: Home, study: Path, out: Path | None) -> Path:
    folder = inside(home, home.folder / RUNS / study.stem if out is None else out)
    if (folder / "manifest.json").exists() or is_held(folder):
        remedy = "go on with `concilium federation resume`, or use another --out"
        raise StudyError(Problem(str(folder), "holds a run already", remedy))
    return folder


def _submitted(home: Home, folder: Path, study: Path, terms: Terms) -> Run:
    check_runs(home)
    (folder / ERROR).unlink(missing_ok=True)
    places = {
        "study": str(study.relative_to(home.folder)),
        "out": str(folder.relative_to(home.folder)),
    }
    with tempfile.TemporaryDirectory() as bundle:
        number = commands_of(home).start(write_bundle(Path(bundle)), {**places, **asdict(terms)})
    write_json(
        folder / SUBMITTED, {"study": places["study"], "terms": asdict(terms), "number": number}
    )
    return Run(home, folder, study, terms, number)
