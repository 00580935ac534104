"""Charts: the same bytes twice, nothing global touched, names to the letter, undefined left out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rcParams

from concilium.reports.charts import (
    FEDAVG,
    MAIN,
    PALETTE,
    Series,
    as_svg,
    bare,
    canvas,
    series,
    titled,
)
from concilium.reports.dot_charts import Dots, Panel, label_chart
from concilium.reports.heat_tables import heat_cell
from concilium.reports.markup import Html, element, escaped, number, percent, span, table
from concilium.reports.matrix_charts import matrix_chart

DRAWN = {"fedavg": Series(FEDAVG, "D"), "concilium": Series(MAIN, "o")}


def small(name: str = "small", title: str = "a title") -> Html:
    figure = canvas(2, 1)
    axes = bare(figure.subplots())
    axes.plot([0, 1], [0, 1], "o", color=MAIN)
    titled(axes, title)
    return as_svg(figure, name, f"a picture with {title}")


def test_the_same_chart_has_the_same_bytes() -> None:
    assert small() == small()
    assert "date" not in small().casefold()


def test_nothing_global_is_changed() -> None:
    before = dict(rcParams)
    small()
    assert dict(rcParams) == before


@pytest.mark.parametrize("title", ["$x$", r"$\frac$", '<b> & "c"', "a $ b", "肺炎"])
def test_a_name_is_drawn_to_the_letter(title: str) -> None:
    drawn = small(title=title)
    texts = [node.text for node in ElementTree.fromstring(drawn).iter("text")]
    assert title in texts


def test_two_charts_on_a_page_share_no_identifier() -> None:
    names = [re.findall(r'\bid="([^"]+)"', small(name)) for name in ("first", "second")]
    assert names[0]
    assert not set(names[0]) & set(names[1])
    used = re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", small("first"))
    assert used
    assert set(used) <= set(names[0])


def test_colours_follow_the_page_with_a_fallback() -> None:
    drawn = small()
    assert f"var(--main, {MAIN})" in drawn
    assert len(set(PALETTE.values())) == len(PALETTE)


def test_an_undefined_dot_is_not_drawn() -> None:
    value = np.array([0.7, np.nan])
    dots = {name: Dots(value, value - 0.1, value + 0.1) for name in DRAWN}
    drawn = label_chart("dots", [Panel("AUROC", dots)], ["Mass", "Hernia"], DRAWN, "dots")
    # One mark for each method's defined label; its legend's mark is a use as well.
    assert drawn.count("<use") == 2 * len(DRAWN)


@pytest.mark.parametrize(("defined", "drawn"), [(3, 4), (2, 3), (0, 1)])
def test_matrices_leave_undefined_cells_empty(defined: int, drawn: int) -> None:
    # Cells at the end of the scale, and that end itself; without any there is still a scale.
    matrix = np.full((3, 3), 0.2)
    matrix[[2, 2, 1][: 3 - defined], [0, 1, 0][: 3 - defined]] = np.nan
    picture = matrix_chart("m", [("true", matrix)], ["a", "b", "c"], [12, 7, 9], "phi", "phi")
    assert len(re.findall("fill: #7f3b08", picture)) == drawn


def test_heat_is_darker_the_higher_and_orange_below_the_scale() -> None:
    def brightness(value: float) -> int:
        red, green, blue = re.findall("[0-9a-f]{2}", heat_cell(value, 0.5, 1.0, "").style[12:18])
        return int(red, 16) + int(green, 16) + int(blue, 16)

    shades = [brightness(value) for value in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    assert shades == sorted(shades, reverse=True)
    assert heat_cell(0.4, 0.5, 1.0, "").style.startswith("background:#fdd0a2")
    assert heat_cell(float("nan"), 0.5, 1.0, "–").style == ""


def test_text_is_escaped_once_and_html_never_again() -> None:
    assert escaped("<b>") == "&lt;b&gt;"
    assert escaped(escaped("<b>")) == "&lt;b&gt;"
    assert element("a", "x", title='"') == '<a title="&quot;">x</a>'
    assert "<td>&lt;i&gt;</td>" in table(["a", "b"], [["x", "<i>"]])


def test_undefined_is_a_dash() -> None:
    assert [number(None), number(float("nan")), percent(None), span(0.1, None)] == ["–"] * 4
    assert number(0.0) == "0.000"
    assert number(-0.5, "+.1f") == "−0.5"


def test_any_number_of_methods_can_be_drawn() -> None:
    """Looks are used again once there are more methods than colours and markers."""

    class Many:
        methods = tuple(f"method-{i}" for i in range(60))
        main = "method-0"

        def trains(self, method: str) -> str:
            return "federation"

    assert len(series(Many())) == 60  # type: ignore[arg-type]
