"""Worlds that differ in how far one thing is turned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from evidence import Evidence, Model

BASES: Mapping[tuple[str, str], float] = {
    ("features-20", "specialist λ"): 1.0,
    ("features-20", "Dirichlet α"): 0.3,
    ("features-20", "local epochs"): 2.0,
    ("features-20", "participation"): 0.4,
    ("phantom-20", "local epochs"): 2.0,
    ("phantom-20", "participation"): 1.0,
    ("phantom-20", "rounds"): 40.0,
}
"""How far a severity is turned in a world that several sweeps start from: its rows say no more than
one. A test holds these to the catalogue of worlds."""


class Sweep(NamedTuple):
    """Worlds of one severity, its values ascending."""

    severity: str
    family: str
    worlds: tuple[str, ...]
    values: tuple[float, ...]

    def models(self, evidence: Evidence) -> tuple[Model, ...]:
        """Every model of any of its worlds."""
        own = {model for world in self.worlds for model in evidence.models(world)}
        return tuple(model for model in evidence.every_model if model in own)


def sweeps_of(evidence: Evidence) -> tuple[Sweep, ...]:
    """Worlds of one severity whose settings were chosen in one world, that world included.

    Worlds that each chose their own settings are one sweep if their values differ. A single world
    is none.
    """
    groups: dict[tuple[str, str, str], dict[float, str]] = {}
    for world in evidence.worlds:
        row = evidence.first(world)
        if row.severity is not None:
            name, value = row.severity
            key = (row.family, name, row.tuned_in or world)
            groups.setdefault(key, {})[float(value)] = world
    for (_, name, base), worlds in groups.items():
        value = BASES.get((base, name))
        if value is not None and base in evidence.worlds:
            worlds.setdefault(value, base)
    found = [_sweep(key[:2], own) for key, own in groups.items() if len(own) > 1]
    return (*found, *_of_singles(groups))


def _of_singles(groups: Mapping[tuple[str, str, str], Mapping[float, str]]) -> list[Sweep]:
    singles: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for (family, name, _), worlds in groups.items():
        if len(worlds) == 1:
            singles.setdefault((family, name), []).extend(worlds.items())
    return [
        _sweep(key, dict(own))
        for key, own in singles.items()
        if len(own) > 1 and len({value for value, _ in own}) == len(own)
    ]


def _sweep(key: tuple[str, str], worlds: Mapping[float, str]) -> Sweep:
    values = sorted(worlds)
    return Sweep(key[1], key[0], tuple(worlds[value] for value in values), tuple(values))
