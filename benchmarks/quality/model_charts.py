"""Charts that reports of a single study do not need: a trade-off, gains, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from concilium.reports.charts import (
    INK,
    LINE,
    MUTED,
    POOLED,
    Series,
    as_svg,
    bare,
    canvas,
    shown,
    titled,
)
from concilium.reports.markup import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 9.6  # inches


@dataclass(frozen=True)
class Point:
    """A model in two numbers: means, and half of an error bar in each, or NaN."""

    name: str
    across: float
    up: float
    across_spread: float
    up_spread: float
    look: Series
    named: bool = False


def trade_off(
    name: str,
    points: Sequence[Point],
    titles: tuple[str, str],
    target: tuple[float, float],
    alternative: str,
) -> Html:
    """Points with error bars; ``titles``: across, up.

    ``target``: at most so far right and at least so far up, drawn as a corner; NaN for none.
    """
    figure = canvas(WIDTH, 4.6)
    axes = bare(figure.subplots())
    axes.set_xlabel(titles[0], color=MUTED, fontsize=9)
    axes.set_ylabel(titles[1], color=MUTED, fontsize=9)
    for point in points:
        axes.errorbar(
            point.across,
            point.up,
            0.0 if np.isnan(point.up_spread) else point.up_spread,
            0.0 if np.isnan(point.across_spread) else point.across_spread,
            point.look.marker,
            color=point.look.color,
            markersize=point.look.size * (1.3 if point.named else 0.9),
            markeredgewidth=0,
            elinewidth=0.6,
            alpha=1.0 if point.named else 0.55,
        )
        if point.named:
            _named(axes, point)
    if not any(np.isnan(target)):
        _corner(axes, target)
    return as_svg(figure, name, alternative)


def _named(axes: Axes, point: Point) -> None:
    axes.annotate(
        shown(point.name),
        (point.across, point.up),
        (6, 5),
        textcoords="offset points",
        fontsize=8.5,
        color=INK,
    )


def _corner(axes: Axes, target: tuple[float, float]) -> None:
    """The region that is asked for, up and to the left."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    left, high = min(left, target[0] - 0.01), max(high, target[1] + 0.005)
    axes.fill_between([left, target[0]], target[1], high, color=POOLED, alpha=0.1, linewidth=0)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


def gain_strip(
    name: str,
    gains: Mapping[str, Sequence[float]],
    drawn: Mapping[str, Series],
    across: str,
    alternative: str,
) -> Html:
    """A row for each model: a mark for each hospital and seed, and a bar at their mean."""
    figure = canvas(WIDTH, 0.9 + 0.36 * len(gains))
    axes = bare(figure.subplots(), "x")
    axes.set_xlabel(across, color=MUTED, fontsize=9)
    axes.axvline(0.0, color=INK, linewidth=0.9)
    for place, (model, values) in enumerate(gains.items()):
        own = np.sort(np.asarray(values))
        shifts = np.linspace(-0.22, 0.22, 5)[np.arange(len(own)) % 5]  # side by side, not on top
        look = drawn[model]
        axes.plot(
            own,
            place + shifts,
            look.marker,
            color=look.color,
            markersize=look.size * 0.75,
            markeredgewidth=0,
            alpha=0.55,
        )
        axes.vlines(own.mean(), place - 0.36, place + 0.36, color=look.color, linewidth=2.2)
    axes.set_yticks(range(len(gains)), [shown(model) for model in gains])
    axes.set_ylim(len(gains) - 0.5, -0.5)
    return as_svg(figure, name, alternative)


def rank_chart(
    name: str, ranks: Sequence[tuple[str, float]], difference: float, title: str, alternative: str
) -> Html:
    """Average ranks on a line, best on the left; bars join what is not told apart."""
    order = sorted(ranks, key=lambda own: (own[1], own[0]))
    places = [rank for _, rank in order]
    bars = groups(places, difference)
    half = (len(order) + 1) // 2
    figure = canvas(WIDTH, 1.3 + 0.24 * half + 0.1 * len(bars))
    axes = figure.subplots()
    axes.set_axis_off()
    low, high = 1, len(order)
    axes.set_xlim(low - 0.45 * (high - low), high + 0.45 * (high - low))
    axes.hlines(0, low, high, color=INK, linewidth=1)
    for tick in range(low, high + 1):
        axes.vlines(tick, 0, 0.25, color=INK, linewidth=1)
        axes.text(tick, 0.4, str(tick), ha="center", fontsize=8.5, color=MUTED)
    for level, (start, end) in enumerate(bars, 1):
        line = [places[start] - 0.04, places[end] + 0.04]
        axes.plot(line, [-0.4 * level] * 2, color=INK, linewidth=3)
    depth = 0.4 * len(bars) + 0.6
    for place, (model, rank) in enumerate(order):
        left = place < half
        down = -depth - 0.9 * (place if left else len(order) - 1 - place)
        end = low - 0.03 * (high - low) if left else high + 0.03 * (high - low)
        axes.plot([rank, rank, end], [0, down, down], color=LINE, linewidth=0.9, zorder=0)
        side = "right" if left else "left"
        text = f"{shown(model)}  {rank:.2f}" if left else f"{rank:.2f}  {shown(model)}"
        axes.text(end, down, text, ha=side, va="center", fontsize=9, color=INK)
    axes.plot([low, low + difference], [1.35, 1.35], color=MUTED, linewidth=2)
    axes.text(low, 1.6, f"critical difference {difference:.2f}", fontsize=8.5, color=MUTED)
    axes.set_ylim(-depth - 0.9 * half, 2.3)
    titled(axes, title)
    return as_svg(figure, name, alternative)


def groups(places: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last of each longest run of ascending ranks that lie within a difference.

    >>> groups([1.0, 1.5, 3.0, 3.4], 1.0)
    [(0, 1), (2, 3)]
    """
    found: list[tuple[int, int]] = []
    for start in range(len(places)):
        end = max(i for i in range(start, len(places)) if places[i] - places[start] <= difference)
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return found
