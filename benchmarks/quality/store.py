"""Results on disk: a line a row and a line a trial, appended one by one and never rewritten.

A line that was torn by a crash is dropped, a later line takes the place of an earlier one of the
same name, and a line of another definition of its world or method counts as not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from definitions import Catalogue, Setting
from methods import Method
from rows import Row
from tuning import Trial
from worlds import World


class Line(Protocol):
    """What can be written as a line."""

    def to_json(self) -> str:
        """The line without its end."""
        ...


T = TypeVar("T", Row, Trial)
Key = tuple[str, str, int]
"""A method, the setting that was tried, and the seed."""


class Store:
    """The lines of one folder that agree with a catalogue. Final.

    ``told`` hears a sentence for each file that holds lines which do not count.
    """

    def __init__(
        self, folder: Path, catalogue: Catalogue, told: Callable[[str], None] = print
    ) -> None:
        self._folder, self._catalogue, self._told = folder, catalogue, told
        self._rows: dict[str, dict[str, Row]] = {}
        self._trials: dict[str, dict[Key, Trial]] = {}
        self._definitions: dict[tuple[str, str, str], str] = {}

    @property
    def bodies(self) -> Path:
        """Where trained bodies wait for their heads."""
        return self._folder / ".bodies"

    def rows(self, world: str) -> dict[str, Row]:
        """Rows of a world by their id."""
        if world not in self._rows:
            read = self._current(self.row_file(world), Row.of_json, self._row_counts)
            self._rows[world] = {row.id: row for row in read}
        return self._rows[world]

    def trials(self, world: str) -> dict[Key, Trial]:
        """Trials of a world by method, setting and seed."""
        if world not in self._trials:
            read = self._current(self.trial_file(world), Trial.of_json, self._trial_counts)
            self._trials[world] = {(t.method, t.setting.key, t.seed): t for t in read}
        return self._trials[world]

    def trial(self, world: World, method: str, setting: Setting, seed: int) -> Trial | None:
        """One trial, where it is there with all heads that the method has now."""
        found = self.trials(world.name).get((method, setting.key, seed))
        heads = self._catalogue.methods[method].heads
        return found if found is not None and set(heads) <= set(found.validation) else None

    def add_row(self, row: Row) -> None:
        """Write a row down."""
        self.rows(row.world)[row.id] = row
        append(self.row_file(row.world), row)

    def add_trial(self, trial: Trial) -> None:
        """Write a trial down."""
        self.trials(trial.world)[trial.method, trial.setting.key, trial.seed] = trial
        append(self.trial_file(trial.world), trial)

    def row_file(self, world: str) -> Path:
        """Where the rows of a world stand."""
        return self._folder / f"{world}.jsonl"

    def trial_file(self, world: str) -> Path:
        """Where the trials of a world stand."""
        return self._folder / f"{world}.trials.jsonl"

    def _current(
        self, path: Path, parse: Callable[[str], T], counts: Callable[[T], bool]
    ) -> list[T]:
        lines = [parse(line) for line in whole_lines(path)]
        current = [line for line in lines if counts(line)]
        old = sorted({line.method for line in lines if not counts(line)})
        if old:
            number = len(lines) - len(current)
            what = "1 line does" if number == 1 else f"{number} lines do"
            why = "world or method was defined otherwise, or is no longer there"
            self._told(f"{path.name}: {what} not count ({why}): {', '.join(old)}")
        return current

    def _row_counts(self, row: Row) -> bool:
        return row.definition == self._definition(row, self._catalogue.row_definition)

    def _trial_counts(self, trial: Trial) -> bool:
        return trial.definition == self._definition(trial, self._catalogue.trial_definition)

    def _definition(self, line: Row | Trial, of: Callable[[World, Method], str]) -> str:
        """What a line should say; empty where the catalogue knows no such world or method."""
        known, key = self._catalogue, (type(line).__name__, line.world, line.method)
        if line.world not in known.worlds or line.method not in known.methods:
            return ""
        if key not in self._definitions:
            own = of(known.worlds[line.world], known.methods[line.method])
            self._definitions[key] = own
        return self._definitions[key]


def whole_lines(path: Path) -> list[str]:
    """The lines of a file that are ended; none where there is no file."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    return [line for line in whole.split("\n") if line]


def append(path: Path, line: Line) -> None:
    """Add a line and wait until it is on the disk; what a crash left behind the last one goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.to_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
