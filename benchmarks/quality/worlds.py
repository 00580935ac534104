"""The worlds of the benchmark: data, who holds what, and how long one trains, without a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Plain = Mapping[str, Any]
Family = Literal["features", "phantom", "radiographs", "tables"]


@dataclass(frozen=True)
class World:
    """``study``: a study file without seeds and methods; paths as in studies.

    ``rates``: learning rates, ascending; methods with a parameter of their own try every second one
    with two values of it, so that all try as many settings. ``severity``: what is swept, and how
    far it is turned. ``tuned_in``: the world of the same family whose chosen settings are taken
    over by every method ("" chooses in this one). ``tuning_seeds``: settings are chosen by their
    mean validation score over so many of the first seeds; one where a training takes long.
    """

    name: str
    family: Family
    title: str
    study: Plain
    rates: tuple[float, ...]
    severity: tuple[str, float] | None = None
    tuned_in: str = ""
    tuning_seeds: int = 1
