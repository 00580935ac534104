"""``concilium list``: every choice that a study file can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

METHODS, VOCABULARIES = "methods", "vocabularies"
# Name, line, paper, settings, and what leaves a hospital.
Choices = list[tuple[str, str, str, dict[str, str], Mapping[str, str]]]


def command(
    kind: Annotated[
        str, typer.Argument(help="losses, methods, vocabularies, …; all kinds if left out.")
    ] = "",
) -> None:
    """List what a study file can name: sources, losses, metrics, methods, vocabularies, …

    With a kind, each one also with its paper, its settings, and what leaves a hospital.

    Example: `concilium list losses`
    """
    from rich.console import Console

    from concilium.foundation.checks import one_of
    from concilium.foundation.components import KINDS

    console = Console(highlight=False)
    kinds = (*KINDS, METHODS, VOCABULARIES)
    if kind:
        one_of(kinds, kind=kind)
        _print_details(console, kind)
        return
    for each in kinds:
        _print_summaries(console, each)
    console.print("\nSettings and papers: concilium list KIND")


def _print_summaries(console: Console, kind: str) -> None:
    """A kind: each choice with its line."""
    from rich.markup import escape
    from rich.table import Table

    console.print(f"\n[bold]{kind}")
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for name, summary, *_ in _choices(kind):
        table.add_row(name, escape(summary))
    console.print(table)


def _print_details(console: Console, kind: str) -> None:
    """A kind: each choice with its line, its paper, its settings, and what leaves a hospital."""
    from rich.markup import escape
    from rich.padding import Padding

    for name, summary, reference, settings, facts in _choices(kind):
        console.print(f"[bold cyan]{name}[/]  {escape(summary)}")
        if reference and reference != summary:
            console.print(Padding(escape(reference), (0, 0, 0, 4)), style="dim")
        for key, default in settings.items():
            console.print(Padding(escape(f"{key} = {default}"), (0, 0, 0, 4)))
        for fact, line in facts.items():
            console.print(Padding(escape(f"{fact}: {line}"), (0, 0, 0, 4)), style="dim")


def _choices(kind: str) -> Choices:
    """Name, line, paper and settings of every choice of a kind."""
    from concilium.foundation.components import describe, names

    if kind == METHODS:
        return _presets()
    if kind == VOCABULARIES:
        return _vocabularies()
    found = (describe(kind, name) for name in names(kind))
    return [(d.name, d.summary, d.reference, dict(d.settings), d.facts) for d in found]


def _presets() -> Choices:
    """The methods that a study can name without settings: what each is, and is made of."""
    from concilium.cli import meanings
    from concilium.studies.configuration import PRESETS

    return [
        (name, meanings.METHODS[name], "", {key: repr(value) for key, value in own.items()}, {})
        for name, own in PRESETS.items()
    ]


def _vocabularies() -> Choices:
    """The lists of labels that sources know by name, with their labels."""
    from concilium.cli import meanings
    from concilium.labels.vocabularies import VOCABULARIES as KNOWN

    found: Choices = []
    for name, schema in KNOWN.items():
        collection, paper = meanings.VOCABULARIES[name]
        line = f"{collection}: {len(schema)} labels"
        found.append((name, line, paper, {"labels": ", ".join(schema.names)}, {}))
    return found
