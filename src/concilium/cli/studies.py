"""A study file as commands begin with it: read, checked, paths absolute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from concilium.foundation.errors import Problem, StudyError
from concilium.studies.assembly import with_absolute_paths
from concilium.studies.choice_checks import check
from concilium.studies.configuration import Study
from concilium.studies.reading import read_study, readable_part


def checked_study(file: Path, uses: Sequence[str] = ("data",)) -> Study:
    """The study in a file. Raises StudyError with every mistake in it.

    ``uses`` names the tables whose choices the command builds, and so is stopped by.
    """
    try:
        study = read_study(file)
    except StudyError as error:
        raise StudyError([*error.problems, *_further_problems(file, uses)]) from None
    check(study, file.name, uses)
    return with_absolute_paths(study, file.resolve().parent)


def _further_problems(file: Path, uses: Sequence[str]) -> tuple[Problem, ...]:
    """What is wrong with the choices of a study that cannot be read whole."""
    rest = readable_part(file)
    if rest is None:
        return ()
    try:
        check(rest, file.name, uses)
    except StudyError as error:
        return error.problems
    return ()
