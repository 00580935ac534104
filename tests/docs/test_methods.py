"""The pages of docs/methods are those that the docstrings make, and each says what it must."""

from __future__ import annotations

import re
import tomllib

import pytest
import torch

from concilium.foundation.components import FACTS, KINDS, describe, names
from concilium.studies.assembly import make
from concilium.studies.configuration import Choice
from docs import make_methods

METHODS = [(kind, name) for kind in make_methods.KINDS for name in names(kind)]


def test_there_is_a_page_for_every_method_and_no_other() -> None:
    here = make_methods.HERE
    stored = {str(path.relative_to(here)) for path in here.rglob("*.md")}
    expected = {"README.md", *(f"{kind}/{name}.md" for kind, name in METHODS)}
    assert stored == expected, "run `make docs` and commit docs/methods"
    assert set(make_methods.KINDS) <= set(KINDS)


def test_the_index_is_the_one_that_the_docstrings_make() -> None:
    stored = (make_methods.HERE / "README.md").read_text(encoding="utf-8")
    assert stored == make_methods.index(), "run `make docs`"


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_page_is_the_one_that_the_docstring_makes(kind: str, name: str) -> None:
    path = make_methods.HERE / kind / f"{name}.md"
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    made = make_methods.page(kind, name)
    assert _without_measurements(stored) == _without_measurements(made), "run `make docs`"


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_method_says_what_it_sends_costs_and_allows(kind: str, name: str) -> None:
    facts = describe(kind, name).facts
    missing = [fact for fact in FACTS if fact not in facts]
    assert not missing, f"the docstring of {kind}/{name}.py lacks lines that begin with {missing}"
    for fact in FACTS[2:]:
        begins = re.match(r"(yes|no)\b", facts[fact], re.IGNORECASE)
        assert begins, f"{fact} of {kind}/{name}.py must begin with yes or no: {facts[fact]}"


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_the_lines_for_a_study_build_the_method(kind: str, name: str) -> None:
    page = make_methods.page(kind, name)
    lines = page.split("```toml\n")[1].split("```")[0]
    value = _innermost(tomllib.loads(lines))[0]
    choice = Choice(name=value) if isinstance(value, str) else Choice(**value)
    assert make(kind, choice) == make(kind, Choice(name=name))


@pytest.mark.parametrize("name", names("algorithms"))
def test_what_an_algorithm_sends_is_measured(name: str) -> None:
    measured = make_methods.MEASURED["algorithms"](name)
    down, up = (
        float(part.split()[-1]) for part in measured.split(" up")[0].split(" models down and ")
    )
    assert 1 <= down < 10
    assert 1 <= up < 10
    assert torch.get_num_threads() == 1


def _without_measurements(page: str) -> str:
    """Exchanges and bytes of heads may differ in the last step on another processor."""
    return "\n".join(line for line in page.splitlines() if not line.startswith("- **Measured**"))


def _innermost(tables: dict[str, dict[str, object]]) -> list[object]:
    inner = next(iter(tables.values()))
    while len(inner) == 1 and isinstance(value := next(iter(inner.values())), dict):
        if "name" in value:
            return [value]
        inner = value
    return list(inner.values())
