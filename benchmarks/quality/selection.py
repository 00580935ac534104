"""Which part of a grid is asked for."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from definitions import Catalogue

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import InputError, Problem


class Entry(NamedTuple):
    """A part of a grid: a world, methods by name or shell pattern, how many seeds (0, 1, …)."""

    world: str
    methods: tuple[str, ...]
    seeds: int


def everything(catalogue: Catalogue) -> list[Entry]:
    """The grid of all results that there can be."""
    return [Entry(world, ("*",), sys.maxsize) for world in catalogue.worlds]


def resolved(
    grid: Sequence[Entry],
    catalogue: Catalogue,
    worlds: Sequence[str] = ("*",),
    methods: Sequence[str] = ("*",),
    seeds: int | None = None,
) -> list[Entry]:
    """Entries with names instead of patterns, of the worlds and methods that are asked for.

    Raises KeyError for a world of the grid that is not there, and InputError for a pattern that
    matches nothing in the catalogue.
    """
    _check("--worlds", worlds, catalogue.worlds)
    _check("--methods", methods, catalogue.methods)
    found = []
    for entry in grid:
        world = catalogue.worlds[entry.world].name
        listed = [name for name in catalogue.methods if _matches(name, entry.methods)]
        own = tuple(name for name in listed if _matches(name, methods))
        if own and _matches(world, worlds):
            found.append(Entry(world, own, entry.seeds if seeds is None else seeds))
    return found


def _check(option: str, patterns: Iterable[str], names: Collection[str]) -> None:
    nothing = [own for own in patterns if not any(fnmatch(name, own) for name in names)]
    if nothing:
        raise InputError(
            [Problem(option, f"nothing matches {p!r}", suggestion(p, names)) for p in nothing]
        )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
