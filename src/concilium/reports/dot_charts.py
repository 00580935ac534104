"""Dots with intervals: methods side by side in a few numbers, or in every label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concilium.reports.charts import INK, MUTED, Series, as_svg, bare, canvas, legend, shown, titled
from concilium.reports.markup import Html, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
WIDTH = 9.6  # inches


@dataclass(frozen=True)
class Dots:
    """Values (n,) with lower and upper ends (n,), NaN where there is none."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Panel:
    """One number: its title, dots by method, and a line to be drawn (chance, an ideal), or NaN."""

    title: str
    dots: Mapping[str, Dots]
    line: float = float("nan")


def label_chart(
    name: str,
    panels: Sequence[Panel],
    labels: Sequence[str],
    drawn: Mapping[str, Series],
    alternative: str,
) -> Html:
    """A row for each label, in it a dot and an interval for each method."""
    figure = canvas(WIDTH, 0.9 + len(labels) * (0.16 + 0.09 * len(drawn)))
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    shifts = np.linspace(-0.3, 0.3, len(drawn)) if len(drawn) > 1 else np.zeros(1)
    for axes, panel in zip(every, panels, strict=True):
        bare(axes, "x")
        titled(axes, panel.title)
        axes.axvline(panel.line, color=MUTED, linewidth=0.8, linestyle=":")
        for place in range(len(labels) - 1):
            axes.axhline(place + 0.5, color=MUTED, linewidth=0.3, alpha=0.5)
        for shift, (method, own) in zip(shifts, drawn.items(), strict=True):
            _dots(axes, panel.dots[method], np.arange(len(labels)) + shift, own)
    every[0].set_yticks(range(len(labels)), [shown(label) for label in labels])
    every[0].set_ylim(len(labels) - 0.5, -0.5)
    legend(figure, list(drawn.items()))
    return as_svg(figure, name, alternative)


def method_chart(
    name: str, panels: Sequence[Panel], drawn: Mapping[str, Series], alternative: str
) -> Html:
    """A row for each method, a panel for each number; the value is written beside its dot."""
    figure = canvas(WIDTH, 0.75 + 0.3 * len(drawn))
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(every, panels, strict=True):
        bare(axes, "x")
        titled(axes, panel.title)
        for place, (method, own) in enumerate(drawn.items()):
            dots = panel.dots[method]
            _dots(axes, dots, np.array([place]), own)
            _written(axes, float(dots.value[0]), float(dots.high[0]), place)
        axes.margins(x=0.12)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.35 * (high - low))
        axes.locator_params(axis="x", nbins=4)
    every[0].set_yticks(range(len(drawn)), [shown(method) for method in drawn])
    every[0].set_ylim(len(drawn) - 0.5, -0.5)
    return as_svg(figure, name, alternative)


def _dots(axes: Axes, dots: Dots, places: Floats, own: Series) -> None:
    axes.hlines(places, dots.low, dots.high, color=own.color, linewidth=1.3, alpha=0.75)
    axes.plot(
        dots.value, places, own.marker, color=own.color, markersize=own.size, markeredgewidth=0
    )


def _written(axes: Axes, value: float, high: float, place: int) -> None:
    if np.isnan(value):
        axes.text(
            0.04,
            place,
            number(value),
            color=INK,
            fontsize=9,
            va="center",
            transform=axes.get_yaxis_transform(),
        )
        return
    beside = value if np.isnan(high) else high
    axes.annotate(
        number(value, ".2f"),
        (beside, place),
        (7, 0),
        textcoords="offset points",
        color=INK,
        fontsize=9,
        va="center",
    )
