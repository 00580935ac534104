"""Rows by world, model and seed. A model is a method with the head that stands on its body.

The order of the rows changes nothing. A seed that a model lacks in a world is named (``gaps``), and
never filled; a seed that no model has in a world cannot be known to be missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from rows import Row

from concilium.studies.columns import NAN, defined
from concilium.studies.comparison import Measured

FAMILIES = ("features", "phantom", "radiographs", "tables")
TRAINS = ("hospitals", "federation", "pooled")
HEADS = ("none", "newton", "balanced_ridge")
LABEL_BY_LABEL = "one_label"
"""How names of methods begin that train each label by itself. Each label keeps its own best round,
so their validation scores are not comparable with those of one model, and none is a reference."""
OF_THE_ROW = ("seconds", "validation")
Values = Mapping[int, float]
"""A number by seed, NaN where it is undefined."""


class Model(NamedTuple):
    """A method and its head."""

    method: str
    head: str

    @property
    def title(self) -> str:
        """As tables name it."""
        return self.method if self.head == "none" else f"{self.method} + {self.head}"


class Gap(NamedTuple):
    """Seeds that other models have in a world and this one lacks, or in which it diverged."""

    world: str
    model: Model
    missing: tuple[int, ...]
    diverged: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """All rows; see ``of``."""

    rows: tuple[Row, ...]

    @staticmethod
    def of(rows: Iterable[Row]) -> Evidence:
        """Rows in one order. Raises ValueError where a model has two for one world and seed."""
        own = tuple(sorted(rows, key=_place))
        counts = Counter((row.world, row.method, row.head, row.seed) for row in own)
        doubles = [place for place, count in counts.items() if count > 1]
        if doubles:
            raise ValueError(f"two rows for {doubles[0]} (world, method, head, seed)")
        return Evidence(own)

    @cached_property
    def _index(self) -> dict[str, dict[Model, dict[int, Row]]]:
        index: dict[str, dict[Model, dict[int, Row]]] = {}
        for row in self.rows:
            models = index.setdefault(row.world, {})
            models.setdefault(Model(row.method, row.head), {})[row.seed] = row
        return index

    @cached_property
    def worlds(self) -> tuple[str, ...]:
        """Names of worlds, by family and severity."""
        return tuple(self._index)

    def models(self, world: str) -> tuple[Model, ...]:
        """Models of a world: alone, federated, pooled; then by name and head."""
        return tuple(self._index[world])

    @cached_property
    def every_model(self) -> tuple[Model, ...]:
        """Models of any world, in that order."""
        firsts = {Model(row.method, row.head): row for row in reversed(self.rows)}
        return tuple(sorted(firsts, key=lambda model: _rank(firsts[model])))

    def runs(self, world: str, model: Model) -> Mapping[int, Row]:
        """Rows by seed; empty where the model has none in this world."""
        return self._index.get(world, {}).get(model, {})

    def values(self, world: str, model: Model, key: str) -> dict[int, float]:
        """One number by seed, see ``number_of``; NaN where undefined."""
        return {seed: number_of(row, key) for seed, row in self.runs(world, model).items()}

    def of_label(self, world: str, model: Model, label: str, metric: str) -> dict[int, float]:
        """One metric of one label by seed; NaN where undefined."""
        runs = self.runs(world, model)
        return {seed: row.by_label.get(label, {}).get(metric, NAN) for seed, row in runs.items()}

    def measured(self, world: str, model: Model, key: str) -> Measured:
        """Mean and spread over seeds of one measure."""
        return self.over_seeds(world, self.values(world, model, key))

    def over_seeds(self, world: str, values: Values) -> Measured:
        """Mean and spread of values by seed; seeds of the world that they lack are undefined."""
        return Measured.of(values.get(seed, NAN) for seed in self.seeds(world))

    def diverged(self, world: str, model: Model) -> frozenset[int]:
        """Seeds at which the training did not stay finite."""
        return frozenset(seed for seed, row in self.runs(world, model).items() if row.diverged)

    def first(self, world: str) -> Row:
        """A row of a world, for what all its rows share."""
        return next(iter(next(iter(self._index[world].values())).values()))

    def title(self, world: str) -> str:
        """A world's title."""
        return self.first(world).world_title

    def trains(self, model: Model) -> str:
        """Who trains it: hospitals alone, a federation, or one place that holds all exams."""
        return self._trains[model.method]

    @cached_property
    def _trains(self) -> dict[str, str]:
        return {row.method: trains_of(row) for row in self.rows}

    def seeds(self, world: str) -> tuple[int, ...]:
        """Seeds of any model in a world."""
        return tuple(sorted({s for runs in self._index[world].values() for s in runs}))

    def gaps(self) -> tuple[Gap, ...]:
        """Every model that has not all seeds of its world, or diverged in some."""
        found = []
        for world in self.worlds:
            for model in self.models(world):
                runs = self.runs(world, model)
                missing = tuple(seed for seed in self.seeds(world) if seed not in runs)
                diverged = tuple(sorted(self.diverged(world, model)))
                if missing or diverged:
                    found.append(Gap(world, model, missing, diverged))
        return tuple(found)

    def chosen(self, world: str, models: Iterable[Model]) -> Model | None:
        """The model with the best mean validation score: test exams have no say. None of none.

        One with a score in more seeds goes before one with fewer, so that neither a lucky seed
        chooses nor one in which the others diverged.
        """
        found = [model for model in models if self.runs(world, model)]
        return max(found, key=lambda model: self._validation(world, model), default=None)

    def _validation(self, world: str, model: Model) -> tuple[int, float]:
        """In how many seeds there is a score, and their mean."""
        scores = defined(row.validation for row in self.runs(world, model).values())
        return len(scores), math.fsum(scores) / len(scores) if scores else -math.inf

    def pooled(self, world: str) -> Model | None:
        """The pooled model to which others are compared, chosen on validation; None without any."""
        return self._references[world, "pooled"]

    def alone(self, world: str) -> Model | None:
        """What hospitals have without a federation, chosen on validation; None without any."""
        return self._references[world, "hospitals"]

    @cached_property
    def _references(self) -> dict[tuple[str, str], Model | None]:
        return {
            (world, trains): self.chosen(
                world,
                [
                    model
                    for model in self.models(world)
                    if self.trains(model) == trains and not model.method.startswith(LABEL_BY_LABEL)
                ],
            )
            for world in self.worlds
            for trains in ("pooled", "hospitals")
        }

    def with_chosen_head(self, world: str, method: str) -> Model | None:
        """A method with the exact head that validation prefers; None where it has none."""
        own = [m for m in self.models(world) if m.method == method and m.head != "none"]
        return self.chosen(world, own)

    def methods(self, world: str) -> tuple[str, ...]:
        """Methods of a world."""
        return tuple(dict.fromkeys(model.method for model in self.models(world)))


def number_of(row: Row, key: str) -> float:
    """A measure of a row, or what the row itself says: "megabytes", "seconds", "validation".

    Megabytes are what travelled in the rounds and for the exact head; NaN where nothing is
    federated.
    """
    if key == "megabytes":
        head = row.head_report.get("bytes_up", 0.0) + row.head_report.get("bytes_down", 0.0)
        travels = trains_of(row) == "federation" and not row.diverged
        return (row.bytes_up + row.bytes_down + head) / 1e6 if travels else NAN
    return float(getattr(row, key)) if key in OF_THE_ROW else row.measure(key)


def trains_of(row: Row) -> str:
    """Who trains: "federation" where the settings do not say."""
    return str(row.settings.get("trains", "federation"))


def _place(row: Row) -> tuple[object, ...]:
    family = FAMILIES.index(row.family) if row.family in FAMILIES else len(FAMILIES)
    return (family, row.severity or ("", 0.0), row.world, *_rank(row), row.seed)


def _rank(row: Row) -> tuple[object, ...]:
    head = HEADS.index(row.head) if row.head in HEADS else len(HEADS)
    return (TRAINS.index(trains_of(row)), row.method, head, row.head)
