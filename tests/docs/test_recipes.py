"""What recipes quote is what the pages say that they quote, and docs/recipes.md says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from concilium.studies.measured import TABLES, Source, Table
from concilium.studies.recipes import RECIPES
from concilium.studies.rules import RULES
from docs import make_recipes

ROOT = Path(__file__).resolve().parents[2]
PAGE = make_recipes.PAGE.read_text(encoding="utf-8")
NUMBER = re.compile(r"[−+]?(?<![\d.])\d*\.\d+")


def section(source: Source) -> str:
    """The text under a heading, up to the next of its level or above; fails without it."""
    file, heading = source
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(rf"#+ {re.escape(heading)}", line)]
    assert len(starts) == 1, source
    level = len(lines[starts[0]]) - len(lines[starts[0]].lstrip("#"))
    text = lines[starts[0] : starts[0] + 1]
    for line in lines[starts[0] + 1 :]:
        if re.match(rf"#{{1,{level}}} ", line):
            break
        text.append(line)
    return "\n".join(text)


def cell(text: str, row: str, column: str) -> str:
    """A cell of the first table of a text that has the row and a column beginning so."""
    heads: list[str] = []
    for line in text.splitlines():
        cells = [own.strip(" *") for own in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = cells
        elif cells[0] == row:
            return next(own for head, own in zip(heads, cells, strict=True) if _is(head, column))
    raise AssertionError(f"no row {row!r}")


def _is(text: str, begins: str) -> bool:
    return text == begins or text.startswith((f"{begins} ", f"{begins},"))


@pytest.mark.parametrize(
    ("table", "row", "column"),
    [(own, row, column) for own in TABLES for row, cells in own.cells.items() for column in cells],
)
def test_a_quoted_cell_is_that_of_its_table(table: Table, row: str, column: str) -> None:
    found = cell(section(table.source), row, column)
    assert _is(found, table(row, column)), f"{table.source}: {row}, {column} is {found}"


@pytest.mark.parametrize("table", TABLES, ids=lambda own: own.source[1])
def test_what_is_quoted_of_running_text_stands_beside_its_words(table: Table) -> None:
    lines = section(table.source).splitlines()
    for words, number in table.said.items():
        assert any(words in line and number in line for line in lines), (words, number)


@pytest.mark.parametrize("table", TABLES, ids=lambda own: own.source[1])
def test_a_table_was_made_over_as_many_seeds_as_is_said(table: Table) -> None:
    (seeds,) = re.findall(r"(?:one|\d+) seeds?", table.world)
    assert re.search(rf"\b{seeds}\b", section(table.source))


@pytest.mark.parametrize("name", RECIPES)
def test_every_number_of_a_recipe_stands_in_a_section_that_it_names(name: str) -> None:
    own = RECIPES[name]
    pages = "\n".join(section(source) for source in own.sources)
    more = " ".join(section(table.source) for table in TABLES if table.source not in own.sources)
    for text in (own.measured, own.loses, own.instead):
        stands = pages if text is own.measured else pages + more
        missing = set(NUMBER.findall(text)) - set(NUMBER.findall(stands))
        assert not missing, f"{sorted(missing)} is in none of {own.sources}"


def test_the_page_quotes_the_same_numbers() -> None:
    assert make_recipes.filled(PAGE) == PAGE, "run `python -m docs.make_recipes`"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_its_section_and_its_line_in_the_overview(name: str) -> None:
    own = section(("docs/recipes.md", f"{name}\n".strip()))
    assert make_recipes.measured(name) in own.splitlines()
    (rule,) = [rule for rule in RULES if rule.recipe == name]
    overview = section(("docs/recipes.md", "Which recipe, at a glance")).splitlines()
    (line,) = [line for line in overview if f"[{name}](#{name}) | `{rule.name}` |" in line]
    assert ("to try" in line) == (not RECIPES[name].shown)
