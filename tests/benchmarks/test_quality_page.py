"""The page: whole, by itself, offline; nothing of the rows is taken for HTML."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import page as quality_page
import pytest
from cast import Cast
from evidence import Evidence
from figures import pictures

from tests.benchmarks.made_rows import small_grid

HOSTILE = '<img src="http://evil.example/x.png" onerror=alert(1)>'
VOID = {"meta", "img", "br", "link", "input"}


class Structure(HTMLParser):
    """Which elements are open, all identifiers, all links, everything that would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.figures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag in ("script", "link", "img", "iframe") or "src" in given:
            self.loaded.append(tag)
        self.figures += tag == "svg"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def structure(text: str) -> Structure:
    found = Structure()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def text() -> str:
    rows = small_grid()
    rows = [replace(row, world_title=f"{row.world_title} {HOSTILE}") for row in rows]
    return quality_page.page(Cast(Evidence.of(rows)))


@pytest.mark.slow
def test_the_page_needs_no_network(text: str) -> None:
    found = structure(text)
    assert found.loaded == []
    assert all(link.startswith("#") for link in found.links)
    assert not re.search(r"(?:src|href|url\(|@import)[=\s\"']*(?:https?:)?//", text)


@pytest.mark.slow
def test_every_link_leads_somewhere_and_no_identifier_stands_twice(text: str) -> None:
    found = structure(text)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)


@pytest.mark.slow
def test_every_figure_is_on_the_page(text: str) -> None:
    drawn = pictures(Cast(Evidence.of(small_grid())))
    assert structure(text).figures == len(drawn) > 0
    for picture in drawn:
        assert f'id="{picture.name}-' in text


@pytest.mark.slow
def test_a_title_is_no_html(text: str) -> None:
    assert HOSTILE not in text
    assert "&lt;img src=" in text


@pytest.mark.slow
def test_losses_missing_seeds_and_commands_are_on_the_page(text: str) -> None:
    assert "Worse beyond chance: false coupling (1 of 2 worlds)." in text
    assert "b, fedavg_bce: no row for seed 2." in text
    for row in small_grid():
        assert row.command in text


@pytest.mark.slow
def test_the_same_rows_give_the_same_page_in_any_order(tmp_path: Path) -> None:
    rows = small_grid()
    first = quality_page.write(rows, tmp_path / "first").read_bytes()
    random.Random(0).shuffle(rows)
    assert quality_page.write(rows, tmp_path / "second").read_bytes() == first


@pytest.mark.slow
def test_without_the_default_the_page_says_so() -> None:
    rows = [row for row in small_grid() if row.method != "concilium"]
    text = quality_page.page(Cast(Evidence.of(rows)))
    assert "No world has seeds of both concilium + newton and fedavg_bce." in text
