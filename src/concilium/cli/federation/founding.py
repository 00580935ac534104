"""A federation at one place: the coordinator's folder, and those of hospitals beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from concilium.cli.federation.folders import HERE, Home
from concilium.cli.federation.making import (
    SOURCE,
    checked_hospital,
    make_coordinator,
    make_hospital,
)
from concilium.flower import keys
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.files import file_name

PLACE = "coordinator"


def found(
    folder: Path,
    names: tuple[str, ...],
    hosts: tuple[str, ...],
    port: int,
    sources: Mapping[str, str] | None = None,
) -> tuple[Home, dict[str, Path]]:
    """Make a coordinator and these hospitals; ``sources`` are where their exams are, by name.

    Raises InputError with all that is wrong before anything is written.
    """
    folders = {name: folder / file_name(name) for name in names}
    _check(folder, names, folders)
    home = make_coordinator(folder / PLACE, hosts, port)
    address = f"{hosts[0] if hosts else HERE[1]}:{port}"
    for name, own in folders.items():
        source = (sources or {}).get(name, SOURCE)
        public = make_hospital(own, name, home.folder / keys.AUTHORITY, address, source)
        keys.add_member(home.folder, name, public)
    return home, folders


def _check(folder: Path, names: tuple[str, ...], folders: Mapping[str, Path]) -> None:
    problems: list[Problem] = []
    for name, count in Counter(names).items():
        if count > 1:
            problems.append(Problem("--hospital", f"{name!r} is given {count} times"))
        if file_name(name) == PLACE:
            problems.append(Problem("--hospital", f"{name!r} is the coordinator's own folder"))
        try:
            checked_hospital(name, folder)
        except InputError as error:
            problems += error.problems
    for own in folders.values():
        if (own / keys.NODE_KEY).exists():
            problems.append(Problem(str(own), "holds a hospital's key already"))
    if problems:
        raise InputError(problems)
