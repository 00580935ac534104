"""The worlds of the benchmark: data, who holds what, and how long one trains, without a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Plain = Mapping[str, Any]
Family = Literal["features", "phantom", "radiographs", "tables"]
FIRST_EXAMS = 1000
"""Seed of the synthetic exams of seed 0: smaller ones are for development, never for results."""


@dataclass(frozen=True)
class World:
    """``study``: a study file without seeds and methods; paths as in studies.

    ``rates``: learning rates, ascending; methods with a parameter of their own try every second one
    with two values of it, so that all try as many settings. ``regimes``: settings of ``[training]``
    that every method tries with every rate, where there are any; its own parameter then stands
    still. ``severity``: what is swept, and how far it is turned. ``tuned_in``: the world of the
    same family whose chosen settings are taken over by every method ("" chooses in this one).
    ``tuning_seeds``: settings are chosen by their mean validation score over so many of the first
    seeds; one where a training takes long.

    ``own_exams``: the data are synthetic and each seed has exams of its own, so that seeds are
    independent; elsewhere a seed is another split of the same exams.
    """

    name: str
    family: Family
    title: str
    study: Plain
    rates: tuple[float, ...]
    severity: tuple[str, float] | None = None
    tuned_in: str = ""
    tuning_seeds: int = 1
    own_exams: bool = False
    regimes: tuple[Plain, ...] = ()

    def study_at(self, seed: int, regime: Plain | None = None) -> Plain:
        """The study of one seed, with its exams, under one of the regimes."""
        study = dict(self.study)
        if self.own_exams:
            source = {**study["data"]["source"], "seed": FIRST_EXAMS + seed}
            study["data"] = {**study["data"], "source": source}
        if self.regimes:
            study["training"] = {**study["training"], **(regime or {})}
        return study
