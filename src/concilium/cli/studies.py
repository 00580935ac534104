"""A study file as commands begin with it: read, checked, paths absolute."""

from __future__ import annotations

from pathlib import Path

from concilium.studies.assembly import check, with_absolute_paths
from concilium.studies.configuration import Study, read_study


def checked_study(file: Path) -> Study:
    """The study in a file. Raises StudyError with every mistake in it."""
    study = read_study(file)
    check(study, file.name)
    return with_absolute_paths(study, file.resolve().parent)
