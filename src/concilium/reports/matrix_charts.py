"""Matrices of labels by labels, side by side, on one scale of two colours around white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concilium.reports.charts import INK, MUTED, as_svg, canvas, shown, titled
from concilium.reports.markup import Html, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colorbar import Colorbar

Floats = npt.NDArray[np.float64]
WIDTH, LABEL_SIZE = 9.6, 7.5  # inches; points
CHARACTER = 0.065  # inches of a character in that size
SHADES = 41  # steps of the scale
GAP = 0.05  # between cells, as a part of a cell
IN_A_LINE = 3  # matrices
MOST_NUMBERED = 8  # more labels than that leave no room for a number in a cell
MOST_WRITTEN = 20  # more labels than that are too small to be read


def matrix_chart(
    name: str,
    matrices: Sequence[tuple[str, Floats]],
    labels: Sequence[str],
    counts: Sequence[float],
    meaning: str,
    alternative: str,
) -> Html:
    """Matrices (L, L) below their diagonals, three in a line; undefined cells stay empty.

    ``counts`` (L,) stand behind the labels' names. The scale ends at the largest absolute value
    below a diagonal; purple is below 0, orange above. Few labels have their numbers in the cells.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    shape = np.tril(np.ones((len(labels), len(labels)), np.bool_), -1)
    lower = [np.where(shape, matrix, np.nan) for _, matrix in matrices]
    most = max(float(np.nanmax(np.abs(own), initial=0.05)) for own in lower)
    names = [shown(label) for label in labels] if len(labels) <= MOST_WRITTEN else []
    beside = 0.5 + CHARACTER * max(map(len, names), default=0)
    across = min(IN_A_LINE, len(matrices))
    lines = -(-len(matrices) // across)
    height = (WIDTH - beside - 1.2) / across + 0.35
    figure = canvas(WIDTH, lines * height + beside)
    every = figure.subplots(lines, across, sharex=True, sharey=True, squeeze=False)
    colors = ScalarMappable(Normalize(-most, most), colormaps["PuOr_r"].resampled(SHADES))
    for axes, (title, _), own in zip(every.ravel(), matrices, lower, strict=False):
        titled(axes, title)
        _panel(axes, own, colors)
        _named(axes, names, counts)
    for axes in every.ravel()[len(matrices) :]:
        axes.set_visible(False)
    for axes in every[:-1].ravel():  # an empty place below it has no names
        below = axes.get_subplotspec().rowspan.stop * across + axes.get_subplotspec().colspan.start
        axes.tick_params(labelbottom=below >= len(matrices))
    bar = figure.colorbar(colors, ax=list(every.ravel()), shrink=0.6, aspect=25, pad=0.02)
    _scale(bar, meaning)
    return as_svg(figure, name, alternative)


def _panel(axes: Axes, values: Floats, colors: ScalarMappable) -> None:
    axes.set_facecolor("none")
    axes.spines[:].set_visible(False)
    axes.add_collection(_cells(values, colors))
    axes.set_aspect("equal")
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=LABEL_SIZE, length=0)
    axes.set_xlim(0, len(values) - 1)
    axes.set_ylim(len(values), 1)
    if len(values) <= MOST_NUMBERED:
        _written(axes, values, colors)


def _named(axes: Axes, names: Sequence[str], counts: Sequence[float]) -> None:
    """Names of the labels with their counts below, and on the left."""
    texts = [f"{name} ({own:,.0f})" for name, own in zip(names, counts, strict=False)]
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places[:-1], texts[:-1], rotation=90)
    axes.set_yticks(places[1:], texts[1:])


def _written(axes: Axes, values: Floats, colors: ScalarMappable) -> None:
    """The number in each cell, dark on light and light on dark."""
    for row, column in np.argwhere(~np.isnan(values)).tolist():
        red, green, blue, _ = colors.to_rgba(values[row, column])
        ink = "#111111" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"
        place = (column + (1 - GAP) / 2, row + (1 - GAP) / 2)
        text = number(values[row, column], ".2f")
        axes.text(*place, text, color=ink, fontsize=6.5, ha="center", va="center")


def _scale(bar: Colorbar, meaning: str) -> None:
    bar.set_label(meaning, color=MUTED, fontsize=9)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=0)
    bar.outline.set_visible(False)
    bar.solids.set_edgecolor("face")  # type: ignore[union-attr]
    bar.solids.set_rasterized(False)  # type: ignore[union-attr]


def _cells(values: Floats, colors: ScalarMappable) -> PolyCollection:
    """A square for each defined value, with a gap through which the page is seen."""
    from matplotlib.collections import PolyCollection

    rows, columns = np.nonzero(~np.isnan(values))
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (1 - GAP)
    squares = np.stack([columns, rows], 1)[:, None] + corners
    shades = colors.to_rgba(values[rows, columns])
    return PolyCollection(list(squares), facecolors=shades, linewidths=0)
