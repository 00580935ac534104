"""Charts as SVG inside a page: same input, same bytes; light and dark by the page's style sheet.

Figures are drawn without pyplot, so nothing global is chosen or kept. Each colour of ``PALETTE`` is
replaced by a variable of the style sheet (the drawn colour stays as the fallback), text stays text.
The series' colours are those of Masataka Okabe and Kei Ito, Color Universal Design, 2008, and each
series has its own marker, so that no chart needs colours to be read.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

from concilium.reports.evidence import Evidence
from concilium.reports.markup import Html, element, escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#1b1f24", "#5d6672", "#d3d8de"
MAIN, FEDAVG, POOLED, LOCAL = "#d55e00", "#0072b2", "#009e73", "#767f8a"
OTHERS = ("#cc79a7", "#b07d00", "#56b4e9", "#6a4c93")
PALETTE: Mapping[str, str] = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    MAIN: "--main",
    FEDAVG: "--fedavg",
    POOLED: "--pooled",
    LOCAL: "--local",
    **{color: f"--other-{place}" for place, color in enumerate(OTHERS)},
}
LONGEST_NAME = 26  # characters of a label's name that a chart shows
CHARACTER, LEGEND_MARK = 0.075, 0.5  # inches of a letter in a legend, and of a mark beside it
PER_INCH = 96  # a figure of 7.5 inches is as wide as the page's text


@dataclass(frozen=True)
class Series:
    """How a method is drawn in every chart."""

    color: str
    marker: str
    size: float = 5.0


def series(evidence: Evidence) -> dict[str, Series]:
    """Colour and marker of each method, by what it is."""
    others = cycle([Series(c, m) for m in "^PX*h" for c in OTHERS])  # very many share a look
    found: dict[str, Series] = {}
    for method in evidence.methods:
        trains = evidence.trains(method)
        if method == evidence.main:
            found[method] = Series(MAIN, "o", 6.5)
        elif method == "fedavg":
            found[method] = Series(FEDAVG, "D")
        elif trains == "pooled" and POOLED not in {own.color for own in found.values()}:
            found[method] = Series(POOLED, "s")
        elif trains == "hospitals" and LOCAL not in {own.color for own in found.values()}:
            found[method] = Series(LOCAL, "v")
        else:
            found[method] = next(others)
    return found


def canvas(width: float, height: float) -> Figure:
    """An empty transparent figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="none", layout="constrained")


def bare(axes: Axes, grid: str = "both") -> Axes:
    """Axes with a thin grid behind, and nothing else that draws attention."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=0)
    if grid != "none":
        axes.grid(axis=grid, color=LINE, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    return axes


def titled(axes: Axes, title: str) -> None:
    """A small title above the axes, on the left."""
    axes.set_title(shown(title), loc="left", fontsize=10, color=INK, fontweight="bold")


def legend(figure: Figure, drawn: Sequence[tuple[str, Series]]) -> None:
    """Names of the series above the chart, in as few lines as its width allows."""
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], color=own.color, marker=own.marker, markersize=own.size, linestyle="-")
        for _, own in drawn
    ]
    names = [shown(name) for name, _ in drawn]
    widest = LEGEND_MARK + CHARACTER * max(map(len, names), default=1)
    figure.legend(
        marks,
        names,
        loc="outside upper left",
        ncols=max(1, min(len(drawn), int(figure.get_figwidth() / widest))),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.4,
    )


def shown(name: str) -> str:
    """A name as a chart has room for it, drawn to the letter."""
    return to_the_letter(name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…")


def to_the_letter(text: str) -> str:
    """A text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def as_svg(figure: Figure, name: str, alternative: str) -> Html:
    """The figure as an SVG element; ``name`` is its own on the page, ``alternative`` says it."""
    drawing = vector(figure, "none", name)
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<(metadata|style)\b.*?</\1>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="', f'id="{name}-', drawing)
    drawing = re.sub(r"url\(#", f"url(#{name}-", drawing)
    drawing = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', drawing)
    drawing = re.sub(r"(?:'[^']*', )+sans-serif", "var(--font, sans-serif)", drawing)
    for color, variable in PALETTE.items():
        drawing = drawing.replace(color, f"var({variable}, {color})")
    opening, rest = drawing.split(">", 1)
    opening = re.sub(r' (?:width|height|version|xmlns(?::xlink)?)="[^"]*"', "", opening)
    width = round(figure.get_figwidth() * PER_INCH)
    label = f' role="img" aria-label="{escaped(alternative)}" style="width:{width}px"'
    return Html(f"{opening}{label}>{element('title', alternative)}{rest}")


def vector(figure: Figure, fonts: Literal["none", "path"], name: str) -> str:
    """The figure as SVG text without a date; ``fonts``: text stays text, or becomes outlines."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = StringIO()
    canvas_: Any = FigureCanvasSVG(figure)
    with rc_context({"svg.fonttype": fonts, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's own font draws what matplotlib's does not have.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        canvas_.print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
