"""Curves: what is seen by round, with the spread over runs as a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concilium.reports.charts import MUTED, Series, as_svg, bare, canvas, legend, titled
from concilium.reports.markup import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
COLUMNS, WIDTH, HEIGHT = 2, 9.6, 2.9  # panels in a line; inches of all, and of one line


@dataclass(frozen=True)
class Curve:
    """A mean (T,) at places (T,), its lowest and highest run; ``end`` is drawn apart, or NaN."""

    place: Floats
    mean: Floats
    low: Floats
    high: Floats
    end: float = float("nan")


@dataclass(frozen=True)
class Chart:
    """One set of axes: title, names of the axes, a curve by method.

    ``ticks`` are the places that have a name; () lets the chart choose, whole numbers only where it
    is not logarithmic.
    """

    title: str
    across: str
    up: str
    curves: Mapping[str, Curve] = field(default_factory=dict)
    logarithmic: bool = False
    ticks: Sequence[float] = ()


def curve_chart(
    name: str, charts: Sequence[Chart], drawn: Mapping[str, Series], alternative: str
) -> Html:
    """Charts of curves, two in a line."""
    lines = -(-len(charts) // COLUMNS)
    figure = canvas(WIDTH, 0.4 + HEIGHT * lines)
    every = figure.subplots(lines, min(COLUMNS, len(charts)), squeeze=False).ravel()
    for axes in every[len(charts) :]:
        axes.set_visible(False)
    for axes, chart in zip(every, charts, strict=False):
        bare(axes)
        titled(axes, chart.title)
        axes.set_xlabel(chart.across, color=MUTED, fontsize=9)
        axes.set_ylabel(chart.up, color=MUTED, fontsize=9)
        if chart.logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        if chart.ticks:
            axes.set_xticks(chart.ticks, [f"{tick:g}" for tick in chart.ticks])
            axes.minorticks_off()
        elif not chart.logarithmic:
            axes.xaxis.get_major_locator().set_params(integer=True)
        for method, curve in chart.curves.items():
            _curve(axes, curve, drawn[method])
        _name_the_end(axes, list(chart.curves.values()))
    used = {method for chart in charts for method in chart.curves}
    legend(figure, [(method, own) for method, own in drawn.items() if method in used])
    return as_svg(figure, name, alternative)


def _curve(axes: Axes, curve: Curve, own: Series) -> None:
    axes.fill_between(curve.place, curve.low, curve.high, color=own.color, alpha=0.15, linewidth=0)
    axes.plot(
        curve.place,
        curve.mean,
        own.marker,
        linestyle="-",
        color=own.color,
        linewidth=1.6,
        markersize=own.size * 0.7,
        markeredgewidth=0,
        markevery=max(1, len(curve.place) // 12),
    )
    if not np.isnan(curve.end):
        last, beyond = float(curve.place[-1]), _beyond(curve)
        axes.plot([last, beyond], [curve.mean[-1], curve.end], ":", color=own.color, linewidth=1)
        axes.plot(
            beyond,
            curve.end,
            own.marker,
            color=own.color,
            markersize=own.size * 1.5,
            markerfacecolor="none",
            markeredgewidth=1.6,
        )


def _beyond(curve: Curve) -> float:
    """Where the end is drawn: a little after the last round."""
    last = float(curve.place[-1])
    return last + max(1.0, 0.08 * last)


def _name_the_end(axes: Axes, curves: Sequence[Curve]) -> None:
    """Put "final" in place of a number under the ends."""
    ends = [_beyond(curve) for curve in curves if not np.isnan(curve.end)]
    if not ends:
        return
    last = max(float(curve.place[-1]) for curve in curves)
    ticks = [tick for tick in axes.get_xticks().tolist() if 1 <= tick <= last]
    axes.set_xticks([*ticks, max(ends)], [*(f"{tick:g}" for tick in ticks), "final"])
