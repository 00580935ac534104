"""What is done next: every method's settings first, then rows with those that were chosen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bodies import Training
from definitions import FIRST_SEED, Catalogue, Setting, method_of, settings_of, study_of, tuned
from methods import Method
from rows import Row, row_id
from selection import Entry
from store import Store
from tuning import Trial, choose, together
from work import Done, Work
from worlds import World


@dataclass(frozen=True)
class Unit:
    """A trial of a method in a world, for its own sake (no heads) or for the rows of some heads."""

    world: World
    method: Method
    setting: Setting
    seed: int
    heads: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """As progress names it."""
        what = f"seed {self.seed}" if self.heads else "tuning"
        return f"{self.world.name} · {self.method.name} · {what} · rate {self.setting.rate:g}"

    @property
    def training(self) -> Training:
        """What is trained."""
        study = study_of(self.world, self.setting, self.seed)
        settings = method_of(self.world, self.method, self.setting)
        alone = self.method.one_label_at_a_time
        return Training(study, settings, self.setting.rate, self.seed, alone)

    @property
    def name(self) -> tuple[str, str, str, int]:
        """What tells it from other units of a plan."""
        return self.world.name, self.method.name, self.setting.key, self.seed


@dataclass(frozen=True)
class _Rows:
    """The rows of a method at a seed: they wait for its tuning."""

    world: World
    method: Method
    seed: int

    @property
    def name(self) -> tuple[str, str, str, int]:
        """What tells it from other slots of a plan."""
        return self.world.name, self.method.name, "", self.seed


def tuning_seeds(world: World) -> range:
    """The seeds at which settings are tried."""
    return range(FIRST_SEED, FIRST_SEED + world.tuning_seeds)


class Plan:
    """Units of a grid that are still to be done, in an order that reads data once. Final.

    ``entries`` hold names, no patterns; ``failed`` are the errors of units that came to nothing.
    """

    def __init__(self, entries: Sequence[Entry], catalogue: Catalogue, store: Store) -> None:
        self._catalogue, self._store = catalogue, store
        self._ready: deque[Unit] = deque()
        self.failed: list[str] = []
        slots = [own for entry in entries for own in self._slots_of(entry)]
        self._slots = list({own.name: own for own in slots}.values())
        rows = (own for own in slots if isinstance(own, _Rows))
        self._awaited = {(own.world.name, own.method.name, own.seed) for own in rows}

    def _slots_of(self, entry: Entry) -> Iterable[Unit | _Rows]:
        """Trials that are missing, then rows that are, seed by seed."""
        world = self._catalogue.worlds[entry.world]
        methods = [self._catalogue.methods[name] for name in entry.methods]
        rows = [
            _Rows(world, method, seed)
            for seed in range(FIRST_SEED, FIRST_SEED + entry.seeds)
            for method in methods
            if self._missing(world, method, seed)
        ]
        tuned_in, found = self._catalogue.tuned_in(world), []
        for method in dict.fromkeys(own.method.name for own in rows):
            found += self._untried(tuned_in, self._catalogue.methods[method])
        return [*found, *rows]

    def _untried(self, world: World, method: Method) -> list[Unit]:
        return [
            Unit(world, method, setting, seed)
            for setting in settings_of(world, method)
            for seed in tuning_seeds(world)
            if self._store.trial(world, method.name, setting, seed) is None
        ]

    def _missing(self, world: World, method: Method, seed: int) -> list[str]:
        there = self._store.rows(world.name)
        return [h for h in method.heads if row_id(world.name, method.name, h, seed) not in there]

    @property
    def num_trials(self) -> int:
        """How many trainings are left to begin, at most: heads that chose alike share one."""
        of_slots = sum(
            1 if isinstance(own, Unit) else len(self._missing(own.world, own.method, own.seed))
            for own in self._slots
        )
        return len(self._ready) + of_slots

    def next(self) -> Unit | None:
        """The first unit that can be done now; None where all that are left wait for others."""
        if self._ready:
            return self._ready.popleft()
        for place, own in enumerate(self._slots):
            units = [own] if isinstance(own, Unit) else self._units(own)
            if units:
                del self._slots[place]
                self._ready.extend(units)
                return self._ready.popleft()
        return None

    def _units(self, rows: _Rows) -> list[Unit]:
        """A unit for each setting that some head has chosen; none before tuning is done.

        Bodies of settings that nobody has chosen are no longer kept.
        """
        world, method = rows.world, rows.method
        trials = self.trials(world, method)
        if trials is None:
            return []
        chosen: dict[str, list[str]] = {trial.setting.key: [] for trial in trials}
        for head in self._missing(world, method, rows.seed):
            chosen[choose(trials, head).key].append(head)
        units = [
            Unit(world, method, trial.setting, rows.seed, tuple(chosen[trial.setting.key]))
            for trial in trials
        ]
        for unit in units:
            if not unit.heads:
                self.work(unit).file.unlink(missing_ok=True)
        return [unit for unit in units if unit.heads]

    def trials(self, world: World, method: Method) -> list[Trial] | None:
        """All that the method tried for this world, one a setting; None where one is missing."""
        tuned_in, tried = self._catalogue.tuned_in(world), []
        seeds = tuning_seeds(tuned_in)
        for setting in settings_of(tuned_in, method):
            found = [self._store.trial(tuned_in, method.name, setting, seed) for seed in seeds]
            trials = [trial for trial in found if trial is not None]
            if len(trials) < len(seeds):
                return None
            tried.append(together(trials))
        return tried

    def work(self, unit: Unit) -> Work:
        """What a process is told to do; bodies are kept where rows wait for them."""
        scored = () if unit.heads else unit.method.heads
        place = unit.world.name, unit.method.name, unit.seed
        keep = not unit.heads and place in self._awaited
        return Work(unit.training, scored, unit.heads, self._store.bodies, keep)

    def took(self, unit: Unit, done: Done) -> None:
        """Write down what came of a unit."""
        if done.error:
            self.failed.append(f"{unit.title}\n{done.error}")
            return
        if not unit.heads:
            self._store.add_trial(self._trial(unit, done))
            return
        for head in unit.heads:
            self._store.add_row(self._row(unit, head, done))
        self.work(unit).file.unlink(missing_ok=True)

    def unfinished(self) -> list[str]:
        """Rows that could not be begun, as a trial that they wait for has failed."""
        return [
            f"{own.world.name} · {own.method.name} · seed {own.seed}"
            for own in self._slots
            if isinstance(own, _Rows)
        ]

    def _trial(self, unit: Unit, done: Done) -> Trial:
        return Trial(
            unit.world.name,
            unit.method.name,
            unit.seed,
            unit.setting.rate,
            unit.setting.value,
            dict(done.scores),
            done.diverged,
            done.seconds,
            self._catalogue.trial_definition(unit.world, unit.method),
        )

    def _row(self, unit: Unit, head: str, done: Done) -> Row:
        trials = self.trials(unit.world, unit.method)
        assert trials is not None  # the setting was chosen from them
        name = row_id(unit.world.name, unit.method.name, head, unit.seed)
        return Row(
            id=name,
            world=unit.world.name,
            world_title=unit.world.title,
            family=unit.world.family,
            severity=unit.world.severity,
            method=unit.method.name,
            method_title=unit.method.title,
            head=head,
            seed=unit.seed,
            rate=unit.setting.rate,
            parameter=tuned(unit.world, unit.method),
            value=unit.setting.value,
            tuned_in=unit.world.tuned_in,
            num_trials=len(trials),
            trials=tuple(
                {"rate": t.rate, "value": t.value, "validation": t.validation[head]} for t in trials
            ),
            definition=self._catalogue.row_definition(unit.world, unit.method),
            command=f"python benchmarks/quality --repeat {name}",
            **done.found[head],
        )
