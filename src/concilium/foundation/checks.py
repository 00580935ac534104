"""Preconditions in one line at the border.

>>> positive(learning_rate=-1.0)
Traceback (most recent call last):
concilium.foundation.errors.InputError: learning_rate=-1.0 must be > 0
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches

from concilium.foundation.errors import InputError, Problem


def positive(**values: float) -> None:
    """Raise InputError unless every named value is finite and > 0."""
    _require(values, lambda v: math.isfinite(v) and v > 0, "must be > 0")


def not_negative(**values: float) -> None:
    """Raise InputError unless every named value is finite and >= 0."""
    _require(values, lambda v: math.isfinite(v) and v >= 0, "must be >= 0")


def fraction(**values: float) -> None:
    """Raise InputError unless every named value lies in [0, 1]."""
    _require(values, lambda v: 0 <= v <= 1, "must lie between 0 and 1")


def at_least(least: float, **values: float) -> None:
    """Raise InputError unless every named value is >= least."""
    _require(values, lambda v: v >= least, f"must be at least {least}")


def one_of(allowed: Iterable[str], **values: str) -> None:
    """Raise InputError, with a suggestion, unless every named value is among those allowed."""
    allowed = tuple(allowed)
    problems = [
        Problem("", f"{name}={value!r} is not known", suggestion(value, allowed))
        for name, value in values.items()
        if value not in allowed
    ]
    if problems:
        raise InputError(problems)


def suggestion(word: str, known: Iterable[str]) -> str:
    """What a user may have meant: the nearest known word, or the list of all.

    >>> suggestion("Edma", ["Edema", "Mass"])
    "did you mean 'Edema'?"
    """
    known = tuple(known)
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    return "known are: " + ", ".join(known)


def _require(values: dict[str, float], holds: object, rule: str) -> None:
    assert callable(holds)
    problems = [Problem("", f"{k}={v!r} {rule}") for k, v in values.items() if not holds(v)]
    if problems:
        raise InputError(problems)
