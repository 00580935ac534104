"""Figures from rows: the same bytes, standing alone, NaN left out."""

from __future__ import annotations

import random
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from cast import Cast, curve_of
from evidence import Evidence
from figures import pictures, standing_alone, write

from concilium.reports.markup import Html
from tests.benchmarks.made_rows import NAN, series, small_grid

SVG = "{http://www.w3.org/2000/svg}"


def test_a_curve_has_mean_and_band_of_the_defined_seeds() -> None:
    curve = curve_of([0.0, 1.0, 2.0], [{0: 1.0, 1: 3.0}, {0: NAN, 1: 2.0}, {}])
    np.testing.assert_array_equal(curve.mean, [2.0, 2.0, NAN])
    np.testing.assert_array_equal(curve.low, [1.0, 2.0, NAN])
    np.testing.assert_array_equal(curve.high, [3.0, 2.0, NAN])


def test_a_figure_standing_alone_has_its_own_colours_and_ground() -> None:
    drawn = Html(
        '<svg viewBox="0" style="width:9px"><path style="fill: var(--ink, #1b1f24)"/></svg>'
    )
    alone = standing_alone(drawn)
    assert "var(" not in alone
    assert "fill: #1b1f24" in alone
    assert 'style="background:#fff;width:9px"' in alone
    assert ElementTree.fromstring(alone).tag == f"{SVG}svg"


@pytest.mark.slow
def test_the_same_rows_give_the_same_figures_in_any_order(tmp_path: Path) -> None:
    rows = small_grid()
    first = write(rows, tmp_path / "first")
    random.Random(0).shuffle(rows)
    second = write(rows, tmp_path / "second")
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"2026" not in one.read_bytes()
        ElementTree.fromstring(one.read_bytes())


@pytest.mark.slow
def test_every_question_has_its_figure() -> None:
    found = pictures(Cast(Evidence.of(small_grid())))
    assert {own.question for own in found} == {
        *("sweep", "ranks", "erasure", "restoration", "decoupling", "gains")
    }
    assert len({own.name for own in found}) == len(found)


@pytest.mark.slow
def test_labelled_shares_are_drawn_as_learning_curves_on_a_logarithmic_axis() -> None:
    rows = []
    for share in (0.05, 0.5, 1.0):
        given = {"world": f"w{share}", "severity": ("labelled share", share), "tuned_in": "w1.0"}
        rows += series("fedavg_bce", "auroc", [0.6, 0.7], **given)  # type: ignore[arg-type]
    (found,) = pictures(Cast(Evidence.of(rows)))
    assert found.question == "learning"
    texts = [node.text for node in ElementTree.fromstring(found.svg).iter("text")]
    assert {"0.05", "0.5", "1"} <= set(texts)


@pytest.mark.slow
def test_rows_without_anything_to_draw_draw_nothing() -> None:
    assert pictures(Cast(Evidence.of(series("a", "map", [NAN, NAN])))) == ()
