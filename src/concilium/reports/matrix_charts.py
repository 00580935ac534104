"""Matrices of labels by labels, side by side, on one scale of two colours around white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concilium.reports.charts import INK, MUTED, as_svg, canvas, shown, titled
from concilium.reports.markup import Html

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection

Floats = npt.NDArray[np.float64]
WIDTH, LABEL_SIZE = 9.6, 7.5  # inches; points
CHARACTER = 0.065  # inches of a character in that size
SHADES = 41  # steps of the scale
GAP = 0.05  # between cells, as a part of a cell
MOST_WRITTEN = 20  # more labels than that are too small to be read


def matrix_chart(
    name: str,
    matrices: Sequence[tuple[str, Floats]],
    labels: Sequence[str],
    meaning: str,
    alternative: str,
) -> Html:
    """Matrices (L, L) below their diagonals; undefined cells stay empty.

    The scale ends at the largest absolute value below a diagonal; purple is below 0, orange above.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    shape = np.tril(np.ones((len(labels), len(labels)), np.bool_), -1)
    lower = [np.where(shape, matrix, np.nan) for _, matrix in matrices]
    most = max(float(np.nanmax(np.abs(own), initial=0.05)) for own in lower)
    names = [shown(label) for label in labels] if len(labels) <= MOST_WRITTEN else []
    beside = 0.2 + CHARACTER * max(map(len, names), default=0)
    figure = canvas(WIDTH, (WIDTH - beside - 1.2) / len(matrices) + beside + 0.4)
    every = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    colors = ScalarMappable(Normalize(-most, most), colormaps["PuOr_r"].resampled(SHADES))
    for axes, (title, _), own in zip(every, matrices, lower, strict=True):
        axes.set_facecolor("none")
        axes.spines[:].set_visible(False)
        axes.add_collection(_cells(own, colors))
        axes.set_aspect("equal")
        axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=LABEL_SIZE, length=0)
        places = np.arange(len(names)) + 0.5
        axes.set_xticks(places[:-1], names[:-1], rotation=90)
        axes.set_yticks(places[1:], names[1:])
        axes.set_xlim(0, len(labels) - 1)
        axes.set_ylim(len(labels), 1)
        titled(axes, title)
    bar = figure.colorbar(colors, ax=list(every), shrink=0.6, aspect=25, pad=0.02)
    bar.set_label(meaning, color=MUTED, fontsize=9)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=0)
    bar.outline.set_visible(False)
    bar.solids.set_edgecolor("face")  # type: ignore[union-attr]
    bar.solids.set_rasterized(False)  # type: ignore[union-attr]
    return as_svg(figure, name, alternative)


def _cells(values: Floats, colors: ScalarMappable) -> PolyCollection:
    """A square for each defined value, with a gap through which the page is seen."""
    from matplotlib.collections import PolyCollection

    rows, columns = np.nonzero(~np.isnan(values))
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (1 - GAP)
    squares = np.stack([columns, rows], 1)[:, None] + corners
    shades = colors.to_rgba(values[rows, columns])
    return PolyCollection(list(squares), facecolors=shades, linewidths=0)
