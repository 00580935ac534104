"""What docs/results.md quotes is what the rows say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import quoted
from definitions import HERE
from quoted import DOCUMENT, updated, worlds_of
from rows import Row
from store import Store

from tests.benchmarks.made_rows import NAN, row, series

ASKED = "<!-- rows: w | a; b+newton = **B**; a - b+newton = gain; nobody | map auroc -->"
END = "<!-- end of rows -->"


def rows_of(world: str) -> list[Row]:
    if world != "w":
        return []
    rows = series("a", "map", [0.30, 0.32, 0.34])
    rows += [
        row("b", seed, {"map": 0.2, "auroc": 0.7 if seed else NAN}, "newton") for seed in (0, 1)
    ]
    return rows


def test_a_table_is_written_between_its_comments_and_nothing_else_is_touched() -> None:
    made = updated(f"# Title\n\n.421 | typed\n\n{ASKED}\nold\n{END}\n\nend", rows_of)
    assert made == (
        f"# Title\n\n.421 | typed\n\n{ASKED}\n\n"
        "| model | mAP ↑ | macro AUROC ↑ | seeds |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| a | 0.320 ± 0.020 | – | 3 |\n"
        "| **B** | 0.200 ± 0.000 (2 of 3) | 0.700 (1 of 3) | 2 of 3, not 2 |\n"
        "| gain | +0.110 [too few pairs] (2 of 3) | – | 2 of 3 |\n"
        "| nobody | – | – | 0 of 3, not 0 1 2 |\n"
        f"\n{END}\n\nend"
    )
    assert updated(made, rows_of) == made


def test_scores_by_round_are_means_over_the_seeds_that_looked() -> None:
    def looks(*values: float) -> tuple[dict[str, float], ...]:
        return tuple({"round": 5.0 * i, "validation_score": v} for i, v in enumerate(values, 1))

    rows = [
        row("a", 0, {}, curve=looks(0.1, 0.3)),
        row("a", 1, {}, curve=looks(0.2, 0.5)),
        row("a", 2, {}, curve=looks(0.3)),
    ]
    asked = "<!-- rows: w | a = **A** | rounds 5 10 20 -->"
    assert updated(f"{asked}\n{END}", lambda _: rows) == (
        f"{asked}\n\n"
        "| validation score after round | 5 | 10 | 20 |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| **A** | 0.200 ± 0.100 | 0.400 ± 0.141 (2 of 3) | – |\n"
        f"\n{END}"
    )
    with pytest.raises(ValueError, match="one model"):
        updated(f"<!-- rows: w | a - b | rounds 5 -->\n{END}", lambda _: rows)


def test_one_number_stands_side_by_side_in_several_worlds() -> None:
    def both(world: str) -> list[Row]:
        start = {"v": 0.1, "w": 0.3}[world]
        return [
            *series("a", "map", [start, start + 0.02, start + 0.04], world=world),
            *series("b", "map", [start, start, start], world=world),
        ]

    asked = "<!-- rows: v = easy, w | a; a - b = gain | map -->"
    assert worlds_of(f"{asked}\n{END}") == ("v", "w")
    made = updated(f"{asked}\n{END}", both)
    assert "| mAP | easy | w |\n" in made
    assert "| a | 0.120 ± 0.020 | 0.320 ± 0.020 |\n" in made
    assert re.search(r"\| gain \| \+0.020 \[.*?\] \| \+0.020 \[.*?\] \|", made)
    with pytest.raises(ValueError, match="one column"):
        updated(f"<!-- rows: v, w | a | map auroc -->\n{END}", both)
    assert "no rows of `u` yet" in updated(
        f"<!-- rows: u, w | a | map -->\n{END}", lambda world: both(world) if world == "w" else []
    )


def test_figures_that_a_document_shows_are_copied_beside_it(tmp_path: Path) -> None:
    document, drawn = tmp_path / "docs" / "results.md", tmp_path / "results"
    document.parent.mkdir()
    document.write_text("![curves](figures/rounds-w.svg) and ![no](other/x.svg)", encoding="utf-8")
    with pytest.raises(ValueError, match="rounds-w"):
        quoted.write_figures(document, drawn)
    (drawn / "figures").mkdir(parents=True)
    (drawn / "figures" / "rounds-w.svg").write_text("<svg/>", encoding="utf-8")
    assert quoted.write_figures(document, drawn) == (document.parent / "figures/rounds-w.svg",)
    assert (document.parent / "figures" / "rounds-w.svg").read_text(encoding="utf-8") == "<svg/>"


def test_a_cell_that_was_typed_over_is_not_up_to_date() -> None:
    made = updated(f"{ASKED}\n{END}", rows_of)
    forged = made.replace("0.320", "0.321")
    assert forged != made and updated(forged, rows_of) == made


def test_a_world_without_rows_says_so() -> None:
    made = updated(f"<!-- rows: v | a | map -->\n{END}", rows_of)
    assert made == f"<!-- rows: v | a | map -->\n\nThere are no rows of `v` yet.\n\n{END}"


def test_only_worlds_that_are_quoted_are_read() -> None:
    text = f"<!-- rows: v | a | map -->\n{END}\n{ASKED}\n{END}\n<!-- rows: v | b | map -->\n{END}"
    read: list[str] = []
    updated(text, lambda world: read.append(world) or [])  # type: ignore[func-returns-value]
    assert read == ["v", "w"] == list(worlds_of(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"<!-- rows: w | a | mpa -->\n{END}", "no columns"),
        (f"<!-- rows: w | a map -->\n{END}", "not WORLD"),
        (f"<!-- rows: w | a b | map -->\n{END}", "not METHOD"),
        (f"<!-- rows: w | a - b - c | map -->\n{END}", "two models"),
        ("<!-- rows: w | a | map -->\n", "not closed"),
        (f"<!-- rows: w | a | map -->\n<!-- rows: w | b | map -->\n{END}", "not closed"),
    ],
)
def test_a_comment_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        updated(text, rows_of)


def test_a_document_is_written_only_where_something_changed(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text(f"{ASKED}\n{END}", encoding="utf-8")
    assert quoted.write(path, rows_of)
    assert not quoted.write(path, rows_of)
    assert "0.320 ± 0.020" in path.read_text(encoding="utf-8")


def test_the_results_that_are_quoted_are_those_of_the_rows() -> None:
    """Rows that a change of world or method has made old do not count here."""
    text = DOCUMENT.read_text(encoding="utf-8")
    if not worlds_of(text):
        pytest.skip("docs/results.md quotes no rows")
    import grid  # it reads the catalogues, which no other test here needs

    assert set(worlds_of(text)) <= set(grid.CATALOGUE.worlds)
    store = Store(HERE / "results", grid.CATALOGUE, lambda _: None)
    made = updated(text, lambda world: store.rows(world).values())
    assert made == text, "run `python benchmarks/quality --tables` and commit docs/results.md"


def test_every_figure_that_is_shown_stands_beside_the_document() -> None:
    shown = quoted.SHOWN_FIGURE.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert shown
    assert not [name for name in shown if not (DOCUMENT.parent / name).exists()]
