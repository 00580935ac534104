"""A study file as commands begin with it: read, checked, paths absolute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from concilium.studies.assembly import check, with_absolute_paths
from concilium.studies.configuration import Study, read_study


def checked_study(file: Path, uses: Sequence[str] = ("data",)) -> Study:
    """The study in a file. Raises StudyError with every mistake in it.

    ``uses`` names the tables whose choices the command builds, and so is stopped by.
    """
    study = read_study(file)
    check(study, file.name, uses)
    return with_absolute_paths(study, file.resolve().parent)
