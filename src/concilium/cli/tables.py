"""Tables on a terminal: methods side by side, and what each column says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from concilium.studies.columns import COLUMNS, SHORT
from concilium.studies.comparison import FINAL, Row, as_text, summarise
from concilium.studies.coverage import label_note
from concilium.studies.run import jobs_of_run, read_results, study_of


def print_summary(console: Console, run: Path) -> None:
    """The table after a run: methods by columns, what the columns are, and whether it is real."""
    study = study_of(run)
    jobs = jobs_of_run(run, study)
    results = read_results(run, jobs)
    rows = summarise(results, study.evaluation.rare_labels, tuple(study.methods))
    print_methods(console, rows)
    note = label_note(results, study.evaluation.min_positives)
    console.print(note, style="dim", markup=False, highlight=False)
    if len(results) < len(jobs):
        console.print(f"[yellow]{len(jobs) - len(results)} of {len(jobs)} jobs are not finished.")
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    if data["synthetic"]:
        console.print("[bold yellow]Synthetic images[/]: these numbers say nothing about patients.")


def print_methods(console: Console, rows: Sequence[Row], keys: Sequence[str] = SHORT) -> None:
    """Methods by columns, mean ± spread, and below it what every column is."""
    titles, cells = as_text(rows, keys)
    for row, own in zip(rows, cells, strict=True):
        own[0] = row.method if row.stage == FINAL else f"  {row.stage}"
    print_table(console, titles, cells)
    shown = [COLUMNS[key] for key in keys if COLUMNS[key].title in titles]
    for column in shown:
        arrow = {"higher": "↑", "lower": "↓"}[column.better]
        console.print(f"[dim]{arrow} {column.title}: {escape(column.meaning)}", highlight=False)
    runs = max(
        (row.measured[column.key].num_defined for row in rows for column in shown), default=0
    )
    if runs > 1:
        console.print(f"[dim]mean ± standard deviation over {runs} runs (seeds, folds)")


def print_table(
    console: Console,
    titles: Sequence[str],
    cells: Sequence[Sequence[str]],
    title: str = "",
    text: Sequence[int] = (0,),
) -> None:
    """A table of numbers in which the columns ``text`` are words; the first is never wrapped.

    Where numbers are too wide for the terminal, titles take several lines, and then columns that
    do not fit stand in a further table below: a row stays one line, and nothing is left out.
    """
    if title:
        console.print(title, style="table.title", markup=False, highlight=False)
    if tuple(text) != (0,):  # words can be wrapped
        console.print(_table(titles, cells, text))
        return
    columns = [list(column) for column in zip(titles, *cells, strict=True)]
    if _room(columns, gap=2) <= console.width:
        console.print(_table(titles, cells, text))
        return
    for own in _abreast([columns[0], *map(_narrow, columns[1:])], console.width):
        names, *rows = zip(*own, strict=True)
        console.print(_table(names, rows, text, gap=1))


def _abreast(columns: Sequence[list[str]], room: int) -> Iterator[list[list[str]]]:
    """Columns that fit side by side, the first one before each; at least one beside it."""
    first, *others = columns
    own = [first]
    for column in others:
        if len(own) > 1 and _room([*own, column], gap=1) > room:
            yield own
            own = [first]
        own.append(column)
    yield own


def _room(columns: Iterable[Iterable[str]], gap: int) -> int:
    """Characters that columns take side by side, each with a gap."""
    return sum(gap + max(map(cell_len, "\n".join(own).split("\n"))) for own in columns)


def _narrow(column: Sequence[str]) -> list[str]:
    """A column in few characters: its title in lines as wide as its cells, words left whole."""
    title, *cells = (cell.replace(" ± ", "±") for cell in column)
    parts = title.replace("-", "- ").split()
    width = max(map(cell_len, (*parts, *cells)))
    return ["\n".join(wrap(title, width)), *cells]


def _table(
    titles: Sequence[str], cells: Sequence[Sequence[str]], text: Sequence[int], gap: int = 2
) -> Table:
    table = Table(box=None, padding=(0, 1, 0, gap - 1))
    wrapped = set(text) - {0}
    for i, name in enumerate(titles):
        justify: Literal["left", "right"] = "left" if i in text else "right"
        table.add_column(escape(name), justify=justify, no_wrap=i not in wrapped)
    for row in cells:
        table.add_row(*map(escape, row))
    return table
