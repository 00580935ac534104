"""Tables of ``docs/results.md`` that are made from rows, between two comments.

    <!-- rows: WORLD | MODEL = NAME; MODEL; FIRST - SECOND = NAME | COLUMN COLUMN -->
    <!-- rows: WORLD | MODEL = NAME; MODEL | rounds 5 10 20 -->
    <!-- rows: WORLD = NAME, WORLD, WORLD | MODEL = NAME; FIRST - SECOND | COLUMN -->
    <!-- end of rows -->

The second form gives the validation score after these rounds, before any exact head; the third one
number side by side in several worlds. A MODEL is METHOD or METHOD+HEAD, NAME is what the table
calls it (bold between two ``**``), a COLUMN is a key of ``shown.SHOWN``. FIRST - SECOND is a line
of differences, paired over seeds.
``python benchmarks/quality --tables`` writes what stands between the comments; a test holds it to
the rows of ``benchmarks/quality/results``. Figures that the document shows, ``figures/NAME.svg``,
are copied beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evidence import Evidence, Model
from paired import counted, paired
from rows import Row
from shown import SHOWN, Shown
from table_forms import Entry, Table, grid
from world_tables import seeds_said

from concilium.foundation.files import write_atomically

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "results.md"
OPENS, CLOSES = "<!-- rows:", "<!-- end of rows -->"
BLOCK = re.compile(rf"({OPENS} ([^\n]*) -->\n)(.*?)({CLOSES})", re.DOTALL)
SHOWN_FIGURE = re.compile(r"\]\((figures/[\w-]+\.svg)\)")
RowsOf = Callable[[str], Iterable[Row]]
"""The rows of a world by its name."""


@dataclass(frozen=True)
class Line:
    """A line of a quoted table: its name, and one model, or two whose difference it gives."""

    name: str
    models: tuple[Model, ...]


@dataclass(frozen=True)
class Quoted:
    """What a comment asks for; ``worlds`` with what the table calls them."""

    worlds: Mapping[str, str]
    lines: tuple[Line, ...]
    columns: tuple[Shown, ...]
    rounds: tuple[int, ...] = ()

    @property
    def world(self) -> str:
        """The world of a table of one."""
        (world,) = self.worlds
        return world


def parsed(asked: str) -> Quoted:
    """What stands in an opening comment. Raises ValueError where that cannot be read."""
    parts = [part.strip() for part in asked.split("|")]
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"not WORLD | MODELS | COLUMNS: {asked!r}")
    worlds = dict(_named(own) for own in parts[0].split(","))
    lines = tuple(_line(own) for own in parts[1].split(";"))
    if parts[2].split()[0] == "rounds" and len(worlds) == 1:
        return Quoted(worlds, lines, (), tuple(int(own) for own in parts[2].split()[1:]))
    if len(worlds) > 1 and len(parts[2].split()) > 1:
        raise ValueError(f"one column where there are several worlds: {asked!r}")
    unknown = [key for key in parts[2].split() if key not in SHOWN]
    if unknown:
        raise ValueError(f"no columns {unknown} (there are {', '.join(SHOWN)})")
    return Quoted(worlds, lines, tuple(SHOWN[key] for key in parts[2].split()))


def _named(text: str) -> tuple[str, str]:
    """A world and what the table calls it."""
    world, _, name = (part.strip() for part in text.partition("="))
    return world, name or world


def _line(text: str) -> Line:
    asked, _, name = (part.strip() for part in text.partition("="))
    models = tuple(_model(own.strip()) for own in asked.split(" - "))
    if len(models) > 2:
        raise ValueError(f"a difference has two models: {text!r}")
    return Line(name or " − ".join(own.title for own in models), models)


def _model(text: str) -> Model:
    method, _, head = text.partition("+")
    if not re.fullmatch(r"\w+", method) or not re.fullmatch(r"\w*", head):
        raise ValueError(f"not METHOD or METHOD+HEAD: {text!r}")
    return Model(method, head or "none")


def updated(text: str, rows_of: RowsOf) -> str:
    """A document with all its tables as the rows have them.

    Raises ValueError for a comment that cannot be read, and for one that is not closed.
    """
    found = list(BLOCK.finditer(text))
    if text.count(OPENS) != len(found) or any(OPENS in own[3] for own in found):
        raise ValueError(f"a comment {OPENS} … --> is not closed by {CLOSES}")
    evidence = Evidence.of(row for world in worlds_of(text) for row in rows_of(world))
    return BLOCK.sub(lambda own: own[1] + table(parsed(own[2]), evidence) + own[4], text)


def worlds_of(text: str) -> tuple[str, ...]:
    """The worlds that a document quotes."""
    asked = (parsed(own[2]) for own in BLOCK.finditer(text))
    return tuple(dict.fromkeys(world for own in asked for world in own.worlds))


def table(quoted: Quoted, evidence: Evidence) -> str:
    """The table that is asked for, or a sentence that there are no rows of its world."""
    missing = [world for world in quoted.worlds if world not in evidence.worlds]
    if missing:
        return f"\nThere are no rows of {', '.join(f'`{own}`' for own in missing)} yet.\n\n"
    if len(quoted.worlds) > 1:
        return f"\n{grid(_side_by_side(quoted, evidence))}\n"
    if quoted.rounds:
        return f"\n{grid(_curves(quoted, evidence))}\n"
    arrows = {"higher": "↑", "lower": "↓"}
    titles = [f"{own.title} {arrows[own.better]}" for own in quoted.columns]
    rows: list[list[Entry | str]] = [
        [
            _name(line.name),
            *(_cell(evidence, quoted.world, line.models, own) for own in quoted.columns),
            _seeds(evidence, quoted.world, line.models),
        ]
        for line in quoted.lines
    ]
    return f"\n{grid(Table.of('', ['model', *titles, 'seeds'], rows))}\n"


def _side_by_side(quoted: Quoted, evidence: Evidence) -> Table:
    """One number in several worlds."""
    (shown,) = quoted.columns
    rows: list[list[Entry | str]] = [
        [_name(line.name), *(_cell(evidence, own, line.models, shown) for own in quoted.worlds)]
        for line in quoted.lines
    ]
    return Table.of("", [shown.title, *quoted.worlds.values()], rows, "")


def _curves(quoted: Quoted, evidence: Evidence) -> Table:
    """Validation scores by round, of models that are one each."""
    rows: list[list[Entry | str]] = [
        [_name(line.name), *(_score(evidence, quoted.world, line, own) for own in quoted.rounds)]
        for line in quoted.lines
    ]
    return Table.of("", ["validation score after round", *map(str, quoted.rounds)], rows, "")


def _score(evidence: Evidence, world: str, line: Line, round_: int) -> str:
    """Mean ± standard deviation over the seeds that looked after a round."""
    if len(line.models) > 1:
        raise ValueError(f"a curve is of one model: {line.name!r}")
    runs = evidence.runs(world, line.models[0]).values()
    looks = [point for row in runs for point in row.curve if point["round"] == round_]
    values = [point["validation_score"] for point in looks if "validation_score" in point]
    if len(values) < 2:
        return "–"
    said = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    return counted(said, len(values), len(evidence.seeds(world)))


def _name(name: str) -> Entry:
    bold = re.fullmatch(r"\*\*(.+)\*\*", name)
    return Entry(bold[1], bold=True) if bold else Entry(name)


def _cell(evidence: Evidence, world: str, models: tuple[Model, ...], shown: Shown) -> str:
    if len(models) == 1:
        return shown.text(evidence, world, models[0])
    gap = paired(*(shown.values(evidence, world, model) for model in models))
    return gap.text(shown.form.lstrip("+"), len(evidence.seeds(world)))


def _seeds(evidence: Evidence, world: str, models: tuple[Model, ...]) -> str:
    """How many seeds there are, of a difference those that both have."""
    if len(models) == 1:
        return seeds_said(evidence, world, models[0])
    both = set.intersection(*(set(evidence.runs(world, model)) for model in models))
    return f"{len(both)} of {len(evidence.seeds(world))}"


def write(path: Path, rows_of: RowsOf) -> bool:
    """Bring the tables of a document up to date; whether that changed anything."""
    before = path.read_text(encoding="utf-8")
    after = updated(before, rows_of)
    if after != before:
        write_atomically(path, after.encode())
    return after != before


def write_figures(document: Path, drawn: Path) -> tuple[Path, ...]:
    """Copy the figures that a document shows from a folder of results to beside it.

    Raises ValueError for one that the rows do not give.
    """
    shown = SHOWN_FIGURE.findall(document.read_text(encoding="utf-8"))
    missing = [name for name in shown if not (drawn / name).exists()]
    if missing:
        raise ValueError(f"{document.name} shows figures that no rows give: {missing}")
    for name in shown:
        write_atomically(document.parent / name, (drawn / name).read_bytes())
    return tuple(document.parent / name for name in shown)
