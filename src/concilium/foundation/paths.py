"""Paths as a study file writes them, with environment variables."""

from __future__ import annotations

import os
import re
from pathlib import Path

from concilium.foundation.errors import InputError, Problem

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\}")


def expand(text: str, base: Path) -> Path:
    """An absolute path; a relative one is seen from the folder ``base``.

    ``${NAME}`` stands for an environment variable, ``${NAME:-default}`` for the default where the
    variable is unset or empty, ``~`` in front for the home folder. Symbolic links stay as they are.
    Raises InputError with every variable that is unset and has no default, and for a ``${`` that is
    not one of these forms.

    >>> expand("${UNSET_FOR_THIS_EXAMPLE:-scans}/a.csv", Path("/data")).as_posix()
    '/data/scans/a.csv'
    """
    problems: list[Problem] = []

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            remedy = f"set it, or write a default: ${{{name}:-folder}}"
            problems.append(Problem(text, f"the environment variable {name} is not set", remedy))
        return found or ""

    if "${" in _VARIABLE.sub("", text):
        remedy = "write ${NAME} or ${NAME:-default}"
        problems.append(Problem(text, "holds a '${' that is not a variable", remedy))
    expanded = Path(_VARIABLE.sub(value, text)).expanduser()
    if problems:
        raise InputError(problems)
    return Path(os.path.normpath(base.absolute() / expanded))
