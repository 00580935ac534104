"""On a narrow terminal a row of numbers stays one line, and no number is left out."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from concilium.cli.tables import print_methods, print_table
from concilium.studies.columns import COLUMNS, SHORT
from concilium.studies.comparison import BEFORE, FINAL, Measured, Row

METHODS = ("local_only", "classic_softmax", "fedavg", "concilium", "pooled")


def rows(*runs: float) -> list[Row]:
    """Methods whose numbers are those of some runs; concilium has a model before its head too."""
    measured = {key: Measured.of(runs) for key in COLUMNS}
    found = [Row(name, FINAL, "federation", measured) for name in METHODS]
    return [*found[:4], Row("concilium", BEFORE, "federation", measured), found[4]]


def printed(width: int, *runs: float) -> list[str]:
    """The lines of the table of methods on a terminal of so many characters, without notes."""
    out = io.StringIO()
    print_methods(Console(file=out, width=width), rows(*runs))
    lines = out.getvalue().splitlines()
    return lines[: next(i for i, line in enumerate(lines) if line[:1] in "↑↓" and line)]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_each_row_is_one_line_and_no_number_is_left_out(width: int) -> None:
    # 0.611 and 0.671 have the mean 0.641 and the standard deviation 0.06 / sqrt(2) = 0.042; of
    # 1,000 exams, missed findings are written without decimals.
    lines = printed(width, 0.611, 0.671)
    assert all(len(line) <= width for line in lines)
    numbers = [line for line in lines if "±" in line]
    text = "\n".join(numbers)
    assert len(re.findall("0.641 ?± ?0.042", text)) == 6 * (len(SHORT) - 1)
    assert len(re.findall(r" 1 ?± ?0 *$", text, re.MULTILINE)) == 6
    names = {line.split("0.641")[0].strip() for line in numbers}
    assert names == {*METHODS, "before consolidation"}


def test_what_fits_is_one_table_with_titles_in_one_line() -> None:
    lines = printed(200, 0.611, 0.671)
    assert len(lines) == 1 + 6
    assert all(COLUMNS[key].title in lines[0] for key in SHORT)
    assert "0.641 ± 0.042" in lines[1]


def test_of_one_run_all_columns_fit_into_80_characters_under_titles_of_several_lines() -> None:
    lines = printed(80, 0.611)
    assert len([line for line in lines if "0.611" in line]) == 6
    titles = " ".join(" ".join(lines[:-6]).split())
    for key in SHORT:
        parts = COLUMNS[key].title.replace("-", "- ").split()
        assert all(part in titles for part in parts)


def test_of_several_runs_columns_that_do_not_fit_stand_below() -> None:
    lines = printed(80, 0.611, 0.671)
    assert len([line for line in lines if line.startswith("pooled")]) == 2


def test_a_column_that_is_too_wide_alone_is_not_lost() -> None:
    out = io.StringIO()
    print_table(Console(file=out, width=30), ["label", "first", "second"], [["a", "1" * 25, "2"]])
    assert "1" * 20 in out.getvalue()
    assert re.search("a +2", out.getvalue())


def test_a_title_is_not_wrapped_by_a_table_that_is_narrower() -> None:
    out = io.StringIO()
    print_table(Console(file=out, width=60), ["label", "n"], [["a", "2"]], "Exams [of all parts]")
    assert out.getvalue().splitlines()[0] == "Exams [of all parts]"
