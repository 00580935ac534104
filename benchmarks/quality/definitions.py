"""The two catalogues together, what settings a method tries, and what makes a result stale."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from methods import Method
from worlds import World

from concilium.studies.configuration import digest_of

HERE = Path(__file__).resolve().parent
DATA = "CONCILIUM_DATA"
TABLES = "CONCILIUM_TABLES"
"""Made from what stands in ``DATA`` (``mulan.py``)."""
DEFAULT_DATA = HERE.parents[1].parent / "shared" / "data"
FIRST_SEED = 0

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """What is tuned: the learning rate, and a value of what is tuned beside it.

    That is the method's parameter (None where it has none), or a regime of the world.
    """

    rate: float
    value: Any = None

    @property
    def key(self) -> str:
        """The setting as text, to look it up."""
        return json.dumps([self.rate, self.value], sort_keys=True)


@dataclass(frozen=True)
class Catalogue:
    """All worlds and methods by name."""

    worlds: Mapping[str, World]
    methods: Mapping[str, Method]

    def tuned_in(self, world: World) -> World:
        """The world in which settings are chosen for this one."""
        return self.worlds[world.tuned_in] if world.tuned_in else world

    def trial_definition(self, world: World, method: Method) -> str:
        """Digest of what a trial depends on besides its setting and seed."""
        own = [world.study, method.settings, method.parameter, method.one_label_at_a_time]
        return digest_of([*own, world.study_at(FIRST_SEED)] if world.own_exams else own)

    def row_definition(self, world: World, method: Method) -> str:
        """Digest of what a row depends on besides its head and seed: also all that was tried."""
        tuned = self.tuned_in(world)
        tried = [setting.key for setting in settings_of(tuned, method)]
        own = [self.trial_definition(world, method), self.trial_definition(tuned, method), tried]
        return digest_of(own if tuned.tuning_seeds == 1 else [*own, tuned.tuning_seeds])


def settings_of(world: World, method: Method) -> tuple[Setting, ...]:
    """What a method tries in a world: as many settings for every method.

    All rates, each with every regime of the world. Where it has none: all rates, or every second
    one with each of two values of the method's parameter; raises ValueError where that is not as
    many.
    """
    if world.regimes:
        return tuple(
            Setting(rate, dict(regime)) for rate in world.rates for regime in world.regimes
        )
    if method.parameter:
        found = tuple(Setting(r, value) for r in world.rates[::2] for value in method.values)
    else:
        found = tuple(Setting(rate) for rate in world.rates)
    if len(found) != len(world.rates):
        what = f"{method.name} would try {len(found)} settings in {world.name}"
        raise ValueError(f"{what}, others {len(world.rates)}: give it two values, an even world")
    return found


def tuned(world: World, method: Method) -> str:
    """What is tuned beside the rate: a dotted place in the method's table, "training", or ""."""
    return "training" if world.regimes else method.parameter


def study_of(world: World, setting: Setting, seed: int) -> Plain:
    """The study that a setting is tried in."""
    return world.study_at(seed, setting.value if world.regimes else None)


def method_of(world: World, method: Method, setting: Setting) -> dict[str, Any]:
    """The table of a method under a setting."""
    return (
        copy.deepcopy(dict(method.settings)) if world.regimes else with_value(method, setting.value)
    )


def with_value(method: Method, value: Any) -> dict[str, Any]:
    """The method's settings with this value of its parameter; names of choices become tables."""
    settings: dict[str, Any] = copy.deepcopy(dict(method.settings))
    if not method.parameter:
        return settings
    *places, last = method.parameter.split(".")
    table = settings
    for place in places:
        own = table.get(place, {})
        table[place] = {"name": own} if isinstance(own, str) else dict(own)
        table = table[place]
    table[last] = value
    return settings


def data_folder() -> Path:
    """Where real data stand: ``$CONCILIUM_DATA``, or beside this repository."""
    return Path(os.environ.get(DATA) or DEFAULT_DATA)


def lacks_data(world: World) -> bool:
    """Whether a world needs the folder of real data, and it is not there."""
    needs_data = any(name in json.dumps(world.study) for name in (DATA, TABLES))
    return needs_data and not data_folder().is_dir()
