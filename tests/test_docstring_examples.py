"""Every example in a docstring is run and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import concilium

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(concilium.__path__, prefix="concilium.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    if name.startswith("concilium.flower."):
        pytest.importorskip("flwr", reason="the extra `flower` is not installed")
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples: see the output"


def test_examples_are_found() -> None:
    # Without this, a change in how examples are collected would pass with none run.
    assert doctest.testmod(importlib.import_module("concilium.foundation.errors")).attempted > 0
