"""Choices are found by file name, here or in somebody else's package, and built with checks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from concilium.foundation.components import KINDS, build, describe, find, names
from concilium.foundation.errors import ComponentError, InputError

MINE = '''"""By a fixed say: every client counts the same.

More about it.
"""
from __future__ import annotations
from dataclasses import dataclass, field
from concilium.weightings.contract import Weighting

@dataclass(frozen=True)
class FixedSay(Weighting):
    """A class docstring."""
    say: float
    rounds: int = 2
    parts: tuple[str, ...] = field(default_factory=lambda: ("body",))

    def __call__(self, delta, statistics):
        return delta.map(lambda tensor: tensor * 0 + self.say)
'''
Foreign = Callable[[str], str]


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Foreign]:
    """Write a choice into a package outside concilium and give its dotted name."""
    package = f"foreign_{tmp_path.name}"

    def write(text: str) -> str:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "choice.py").write_text(text)
        return f"{package}.choice"

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_files_without_the_contract_and_without_private_ones(kind: str) -> None:
    folder = Path(sys.modules["concilium"].__path__[0]) / kind
    files = {path.stem for path in folder.glob("*.py")}
    assert set(names(kind)) == {name for name in files if name[0] != "_"} - {"contract"}
    assert list(names(kind)) == sorted(names(kind))


def test_find_gives_the_class_in_the_file() -> None:
    assert find("weightings", "by_images").__module__ == "concilium.weightings.by_images"


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ComponentError, match="weightings: there is no 'by_imags'; did you mean 'by_i"
    ):
        find("weightings", "by_imags")


@pytest.mark.parametrize("name", ["contract", "__init__", "_private"])
def test_what_is_not_a_choice_cannot_be_named(name: str) -> None:
    with pytest.raises(ComponentError, match="there is no"):
        find("weightings", name)


def test_a_dotted_name_finds_a_choice_in_another_package(foreign: Foreign) -> None:
    built = build("weightings", foreign(MINE), {"say": 2.0})
    assert (built.say, built.rounds, built.parts) == (2.0, 2, ("body",))


def test_a_package_that_is_not_there_is_named_with_a_remedy() -> None:
    with pytest.raises(ComponentError, match=r"cannot import 'not_there\.mine': .*PYTHONPATH"):
        find("weightings", "not_there.mine")


def test_unknown_settings_are_all_listed_with_suggestions(foreign: Foreign) -> None:
    name = foreign(MINE)
    with pytest.raises(ComponentError) as caught:
        build("weightings", name, {"say": 1.0, "round": 3, "zzz": 1})
    assert [(problem.what, problem.remedy) for problem in caught.value.problems] == [
        ("unknown setting 'round'", "did you mean 'rounds'?"),
        ("unknown setting 'zzz'", "known are: say, rounds, parts"),
    ]
    assert all(problem.where == f"weightings.{name}" for problem in caught.value.problems)


def test_wrong_types_are_all_listed_with_place_and_what_was_given(foreign: Foreign) -> None:
    name = foreign(MINE)
    with pytest.raises(ComponentError) as caught:
        build("weightings", name, {"say": "loud", "rounds": 2.5})
    say, rounds = caught.value.problems
    assert say.where == f"weightings.{name}.say"
    assert "number" in say.what
    assert "(given: 'loud')" in say.what
    assert rounds.where == f"weightings.{name}.rounds"
    assert "integer" in rounds.what


def test_a_required_setting_that_is_missing_is_named(foreign: Foreign) -> None:
    with pytest.raises(ComponentError, match=r"\.say: .*[Rr]equired"):
        build("weightings", foreign(MINE))


def test_a_refusal_inside_a_choice_keeps_its_own_words(foreign: Foreign) -> None:
    own_check = "    def __post_init__(self) -> None:\n        positive(say=self.say)\n"
    text = MINE.replace(
        "from dataclasses", "from concilium.foundation.checks import positive\nfrom dataclasses"
    )
    with pytest.raises(InputError, match=r"say=-1\.0 must be > 0"):
        build("weightings", foreign(text + own_check), {"say": -1.0})


def test_two_choices_in_one_file_are_refused(foreign: Foreign) -> None:
    second = "\n@dataclass(frozen=True)\nclass Another(FixedSay):\n    pass\n"
    with pytest.raises(ComponentError, match=r"exactly one frozen dataclass .*Weighting, has 2"):
        find("weightings", foreign(MINE + second))


def test_a_file_without_a_choice_is_refused(foreign: Foreign) -> None:
    # An imported class does not count: the choice must be defined in the file.
    only_imported = "from concilium.weightings.by_images import *\n"
    with pytest.raises(ComponentError, match=r"exactly one frozen dataclass .*Weighting, has 0"):
        find("weightings", foreign(only_imported))


def test_a_choice_that_is_no_dataclass_is_refused(foreign: Foreign) -> None:
    with pytest.raises(ComponentError, match=r"exactly one frozen dataclass .* is no dataclass"):
        find("weightings", foreign(MINE.replace("@dataclass(frozen=True)\n", "")))


def test_a_choice_that_is_not_frozen_is_refused_with_a_remedy(foreign: Foreign) -> None:
    name = foreign(MINE.replace("(frozen=True)", ""))
    said = r"FixedSay is not frozen; write @dataclass\(frozen=True\) above it"
    with pytest.raises(ComponentError, match=said):
        find("weightings", name)


def test_the_name_of_a_class_is_answered_with_that_of_its_module(foreign: Foreign) -> None:
    name = foreign(MINE)
    with pytest.raises(ComponentError, match=f"name the module, not the class: '{name}'"):
        find("weightings", f"{name}.FixedSay")
    with pytest.raises(ComponentError, match="install the package, or put its folder on"):
        find("weightings", f"{name}.Nothing")


def test_a_class_that_is_in_no_package_is_sent_into_one(foreign: Foreign, tmp_path: Path) -> None:
    package = foreign(MINE).split(".")[0]
    (tmp_path / package / "__init__.py").write_text(MINE)
    with pytest.raises(ComponentError, match="name a module, not a class: move it into a module"):
        find("weightings", f"{package}.FixedSay")


@pytest.mark.parametrize("name", [".mine", "my-package.mine", "mine.", "folder/mine.py"])
def test_what_is_no_dotted_name_is_refused(name: str) -> None:
    with pytest.raises(ComponentError, match="is no dotted name; give a module as Python imports"):
        find("weightings", name)


def test_a_description_has_the_first_line_and_every_setting(foreign: Foreign) -> None:
    described = describe("weightings", foreign(MINE))
    assert described.summary == "By a fixed say: every client counts the same."
    assert described.settings == {"say": "required", "rounds": "2", "parts": "('body',)"}


def test_a_choice_without_what_its_contract_asks_for_is_told_what_is_missing(
    foreign: Foreign,
) -> None:
    unfinished = MINE.replace("def __call__", "def call")
    assert unfinished != MINE
    with pytest.raises(ComponentError, match="does not define __call__; see"):
        find("weightings", foreign(unfinished))


def test_a_file_that_python_cannot_read_is_named(foreign: Foreign) -> None:
    with pytest.raises(ComponentError, match=r"cannot import .*invalid syntax"):
        find("weightings", foreign("this is no Python"))


def test_what_leaves_a_hospital_is_read_from_the_docstring(foreign: Foreign) -> None:
    told = MINE.replace(
        '"""', '"""Mine.\n\nSends: one\n  number.\nSecure sum: yes, ``it`` is.\n', 1
    )
    described = describe("weightings", foreign(told))
    assert described.facts["Sends"] == "one number."
    assert described.facts["Secure sum"].startswith("yes, `it` is.")
    assert "Costs" not in described.facts
