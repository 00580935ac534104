"""HTML from values: text is always escaped, undefined numbers are "–" and never 0.

>>> element("p", "a < b", class_="note")
'<p class="note">a &lt; b</p>'
>>> number(None), number(float("nan")), number(0.25, ".2f")
('–', '–', '0.25')
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from concilium.studies.comparison import UNDEFINED


class Html(str):
    """Text that is HTML already; every other text is escaped before it enters a page."""

    __slots__ = ()


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its content, CSS classes, colours, and a longer text for the pointer."""

    content: str
    classes: str = ""
    style: str = ""
    hint: str = ""


Content = str | Cell
WIDEST_NAME = 32  # characters; a longer name of a row is wrapped


def escaped(text: str) -> Html:
    """The text as HTML; what is HTML already stays."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def joined(parts: Iterable[str], between: str = "") -> Html:
    """Parts one after the other."""
    return Html(escaped(between).join(escaped(part) for part in parts))


def element(name: str, *children: str, **attributes: str) -> Html:
    """An element; ``class_`` gives class, ``aria_label`` aria-label; empty ones are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def paragraph(*children: str, class_: str = "") -> Html:
    """A paragraph."""
    return element("p", *children, class_=class_)


def section(identifier: str, title: str, *children: str) -> Html:
    """A part of the page, with a heading that can be linked to."""
    return element("section", element("h2", title), *children, id=identifier)


def items(texts: Iterable[str]) -> Html:
    """A list."""
    return element("ul", *(element("li", text) for text in texts))


def folded(summary: str, *children: str) -> Html:
    """A part that opens when it is asked for."""
    return element("details", element("summary", summary), *children)


def figure(content: str, caption: str) -> Html:
    """A picture or heat map, with the sentence that says what to see in it."""
    return element("figure", content, element("figcaption", caption))


def table(titles: Sequence[Content], rows: Iterable[Sequence[Content]], caption: str = "") -> Html:
    """A table, and below it what it says; the first cell of each row names the row."""
    head = element("tr", *(_cell("th", title, scope="col") for title in titles))
    body = [
        element("tr", _cell("th", row[0], scope="row"), *(_cell("td", cell) for cell in row[1:]))
        for row in rows
    ]
    parts = element("thead", head), element("tbody", *body)
    # What is wider than the page scrolls by itself, also from the keyboard.
    own = element("div", element("table", *parts), class_="scroll", tabindex="0")
    return figure(own, caption) if caption else own


def number(value: float | None, form: str = ".3f") -> str:
    """A number as text; "–" where it is undefined."""
    return (
        UNDEFINED if value is None or math.isnan(value) else format(value, form).replace("-", "−")
    )


def span(low: float | None, high: float | None, form: str = ".2f") -> str:
    """An interval as text; "–" where it is undefined."""
    ends = (number(low, form), number(high, form))
    return UNDEFINED if UNDEFINED in ends else f"{ends[0]} to {ends[1]}"


def percent(value: float | None, digits: int = 0) -> str:
    """A fraction as a percentage; "–" where it is undefined."""
    shown = number(None if value is None else 100 * value, f".{digits}f")
    return shown if shown == UNDEFINED else f"{shown}\u00a0%"


def _cell(name: str, content: Content, scope: str = "") -> Html:
    cell = content if isinstance(content, Cell) else Cell(content)
    classes = f"{cell.classes} long".strip() if len(cell.content) > WIDEST_NAME else cell.classes
    return element(
        name,
        cell.content,
        class_=classes if scope else cell.classes,
        style=cell.style,
        title=cell.hint,
        scope=scope,
    )
