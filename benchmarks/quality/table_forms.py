"""A table as values, written once as Markdown and once as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from concilium.reports import markup
from concilium.reports.markup import Html, element


@dataclass(frozen=True)
class Entry:
    """A cell: its text, whether it is the best of its column, and where it leads."""

    text: str
    bold: bool = False
    link: str = ""


Cells = Sequence[Entry | str]


@dataclass(frozen=True)
class Table:
    """A titled table, the sentence below it, and whether it is folded away until asked for."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry | str, ...], ...]
    caption: str = ""
    folded: bool = False

    @staticmethod
    def of(
        title: str,
        columns: Sequence[str],
        rows: Sequence[Cells],
        caption: str = "",
        folded: bool = False,
    ) -> Table:
        """A table. Raises ValueError for a row that has not a cell for each column."""
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"{title}: {len(row)} cells for {len(columns)} columns")
        return Table(title, tuple(columns), tuple(map(tuple, rows)), caption, folded)


def as_markdown(table: Table, level: int = 3) -> str:
    """The table with its heading; without rows, a sentence that says so."""
    if not table.rows:
        return f"{'#' * level} {table.title}\n\nNo rows.\n"
    body = grid(table)
    caption = f"\n{_escaped(table.caption)}\n" if table.caption else ""
    if table.folded:
        summary = f"<details><summary>{_escaped(table.title)}</summary>"
        return f"{summary}\n\n{body}{caption}\n</details>\n"
    return f"{'#' * level} {table.title}\n\n{body}{caption}"


def grid(table: Table) -> str:
    """The lines of the table alone, as Markdown."""
    lines = [
        _line([_escaped(title) for title in table.columns]),
        _line(["---", *["---:"] * (len(table.columns) - 1)]),
        *(_line([_markdown(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def as_html(table: Table) -> Html:
    """The table as part of the page."""
    if not table.rows:
        return markup.paragraph(f"{table.title}: no rows.", class_="note")
    rows = [[_html(cell) for cell in row] for row in table.rows]
    made = markup.table(list(table.columns), rows, table.caption)
    if table.folded:
        return markup.folded(table.title, made)
    return Html(element("h3", table.title) + made)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(cell: Entry | str) -> str:
    own = cell if isinstance(cell, Entry) else Entry(cell)
    text = _escaped(own.text)
    if own.link:
        text = f"[{text}]({own.link})"
    return f"**{text}**" if own.bold else text


def _escaped(text: str) -> str:
    """Text that Markdown shows to the letter, inside a cell, too."""
    for sign in "\\|*`":
        text = text.replace(sign, f"\\{sign}")
    text = text.replace("](", "]\\(")  # what would be a link
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def _html(cell: Entry | str) -> str:
    own = cell if isinstance(cell, Entry) else Entry(cell)
    text: str = element("a", own.text, href=own.link) if own.link else own.text
    return element("strong", text) if own.bold else text
