"""Paths of a study file: variables, defaults, and what is relative to what."""

from __future__ import annotations

from pathlib import Path

import pytest

from concilium.foundation.errors import InputError
from concilium.foundation.paths import expand

BASE = Path("/study")


def test_relative_paths_are_seen_from_the_base_and_absolute_ones_are_not() -> None:
    assert expand("a/b.csv", BASE) == Path("/study/a/b.csv")
    assert expand("../shared", BASE) == Path("/shared")
    assert expand("/elsewhere/b.csv", BASE) == Path("/elsewhere/b.csv")


def test_a_variable_wins_over_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONCILIUM_TEST_FOLDER", raising=False)
    text = "${CONCILIUM_TEST_FOLDER:-../data}/nih"
    assert expand(text, BASE) == Path("/data/nih")
    monkeypatch.setenv("CONCILIUM_TEST_FOLDER", "/scans")
    assert expand(text, BASE) == Path("/scans/nih")
    assert expand("${CONCILIUM_TEST_FOLDER}/nih", BASE) == Path("/scans/nih")
    monkeypatch.setenv("CONCILIUM_TEST_FOLDER", "")
    assert expand(text, BASE) == Path("/data/nih"), "as in a shell, empty counts as unset with :-"


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    assert expand("~/scans", BASE) == Path("/home/reader/scans")


def test_every_unset_variable_is_named_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONCILIUM_TEST_A", "CONCILIUM_TEST_B"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError) as caught:
        expand("${CONCILIUM_TEST_A}/${CONCILIUM_TEST_B}", BASE)
    assert len(caught.value.problems) == 2
    assert "CONCILIUM_TEST_B is not set; set it, or write a default" in str(caught.value)


@pytest.mark.parametrize("text", ["${1A}/x", "${A", "${A:-${B}}"])
def test_a_malformed_variable_is_not_taken_for_a_folder(text: str) -> None:
    with pytest.raises(InputError, match="write \\$\\{NAME\\}"):
        expand(text, BASE)
