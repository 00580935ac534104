"""Heat maps as tables: every number can be read, copied and heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from concilium.reports.markup import Cell, Html, element, table

# Light to dark blue, after the sequential "Blues" of Cynthia Brewer (colorbrewer2.org).
BLUES = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
BELOW = (253, 208, 162)  # orange: below the scale, such as an AUROC under chance


def heat_cell(value: float, low: float, high: float, text: str, hint: str = "") -> Cell:
    """A cell that is the darker the nearer ``value`` is to ``high``; orange below ``low``."""
    if np.isnan(value):
        return Cell(text, "heat none", hint=hint)
    share = (value - low) / (high - low) if high > low else 0.0
    red, green, blue = BELOW if share < 0 else _blue(min(share, 1.0))
    bright = (0.299 * red + 0.587 * green + 0.114 * blue) > 140
    style = f"background:#{red:02x}{green:02x}{blue:02x};color:{'#111' if bright else '#fff'}"
    return Cell(text, "heat", style, hint)


def heat_table(
    corner: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    scale: tuple[str, str],
) -> Html:
    """A table of heat cells, and what its lightest and its darkest colour stand for."""
    titles = [Cell(corner), *(Cell(name, "heat-title") for name in columns)]
    stops = ", ".join(f"rgb{stop}" for stop in BLUES)
    bar = element("span", class_="scale", style=f"background:linear-gradient(90deg, {stops})")
    key = element("div", scale[0], " ", bar, " ", scale[1], class_="key")
    return Html(table(titles, [[name, *cells] for name, cells in rows]) + key)


def _blue(share: float) -> tuple[int, int, int]:
    place = share * (len(BLUES) - 1)
    first = min(int(place), len(BLUES) - 2)
    part = place - first
    red, green, blue = (
        round(a + part * (b - a)) for a, b in zip(BLUES[first], BLUES[first + 1], strict=True)
    )
    return red, green, blue
