"""Tables on a terminal: methods side by side, and what each column says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from concilium.studies.columns import COLUMNS, SHORT
from concilium.studies.comparison import FINAL, Row, as_text, summarise
from concilium.studies.run import jobs_of, read_results, study_of


def print_summary(console: Console, run: Path) -> None:
    """The table after a run: methods by columns, what the columns are, and whether it is real."""
    study = study_of(run)
    jobs = jobs_of(study)
    results = read_results(run, jobs)
    rows = summarise(results, study.evaluation.rare_labels, tuple(study.methods))
    print_methods(console, rows)
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
    """A table of numbers in which the columns ``text`` are words; the first is never wrapped."""
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 1))
    for i, name in enumerate(titles):
        table.add_column(escape(name), justify="left" if i in text else "right", no_wrap=not i)
    for row in cells:
        table.add_row(*map(escape, row))
    console.print(table)
