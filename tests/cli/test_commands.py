"""Every command explains itself, and whatever goes wrong is a line and an exit code."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, get_type_hints

import pytest
from typer.models import ParameterInfo

from concilium.cli import main as command_line
from concilium.cli import meanings
from concilium.cli.main import explain
from concilium.foundation.components import KINDS, describe, names
from concilium.foundation.errors import CheckpointError, DataError
from concilium.labels.vocabularies import VOCABULARIES
from concilium.studies.configuration import PRESETS

from .conftest import Command

COMMANDS = (
    *("demo", "inspect", "split", "recommend", "run", "extract", "evaluate", "compare", "report"),
    "list",
)
HEAVY = ("torch", "pandas", "matplotlib", "monai", "pydantic", "scipy")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example(concilium: Command, name: str) -> None:
    shown = concilium(name, "--help")
    assert shown.code == 0
    assert f"Example: concilium {name}" in " ".join(shown.out.split())


def words(text: str) -> str:
    """The words of a text, without what draws boxes and what marks code."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text.replace("`", "")).split())


def parameters() -> Iterable[tuple[str, str, ParameterInfo]]:
    """Command, parameter and what it was declared with, for every argument and option."""
    for own in command_line.app.registered_commands:
        assert own.callback is not None
        assert own.name is not None
        hints: dict[str, Any] = get_type_hints(own.callback, include_extras=True)
        for name, hint in hints.items():
            for info in getattr(hint, "__metadata__", ()):
                yield own.name, name, info


@pytest.mark.parametrize(
    ("command", "name", "info"), [pytest.param(*own, id="-".join(own[:2])) for own in parameters()]
)
def test_the_help_says_what_every_argument_and_option_is(
    concilium: Command, command: str, name: str, info: ParameterInfo
) -> None:
    assert info.help, f"{name} has no help"
    assert words(info.help) in words(concilium(command, "--help").out)


def test_the_help_of_run_shows_how_a_method_takes_another_loss(concilium: Command) -> None:
    shown = words(concilium("run", "--help").out)
    assert 'below [methods.mine]: loss = {name = "focal", gamma = 2}' in shown
    assert 'loss = {name = "my_package.my_loss", strength = 0.5}' in shown


@pytest.mark.slow
@pytest.mark.parametrize("module", ["concilium", "concilium.cli.main"])
def test_the_command_line_runs_as_a_module(module: str) -> None:
    for arguments, code in ((["--version"], 0), (["list", "loses"], 2)):
        command = [sys.executable, "-W", "error", "-m", module, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert (done.stdout + done.stderr).startswith("concilium")


def test_the_help_lists_every_command(concilium: Command) -> None:
    shown = concilium("--help")
    assert shown.code == 0
    assert all(f" {name} " in shown.out for name in COMMANDS)


def test_the_version_is_printed(concilium: Command) -> None:
    assert concilium("--version").out.startswith("concilium ")


def test_the_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom concilium.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_of_a_kind_has_every_choice_with_its_settings(
    concilium: Command, kind: str
) -> None:
    shown = " ".join(concilium("list", kind).out.split())
    for name in names(kind):
        described = describe(kind, name)
        assert f"{name} {described.summary}" in shown
        assert " ".join(described.reference.split()) in shown
        for key, default in described.settings.items():
            assert " ".join(f"{key} = {default}".split()) in shown


def test_every_preset_is_listed_with_what_it_is_and_what_it_is_made_of(concilium: Command) -> None:
    shown = " ".join(concilium("list", "methods").out.split())
    assert set(meanings.METHODS) == set(PRESETS)
    for name, own in PRESETS.items():
        made_of = " ".join(f"{key} = {value!r}" for key, value in own.items())
        assert f"{name} {meanings.METHODS[name]} {made_of}" in shown


def test_every_vocabulary_is_listed_with_its_labels(concilium: Command) -> None:
    shown = " ".join(concilium("list", "vocabularies").out.split())
    assert set(meanings.VOCABULARIES) == set(VOCABULARIES)
    for name, schema in VOCABULARIES.items():
        assert f"{name} {meanings.VOCABULARIES[name][0]}: {len(schema)} labels" in shown
        assert f"labels = {', '.join(schema.names)}" in shown


def test_the_whole_list_has_every_choice(concilium: Command) -> None:
    shown = concilium("list").out
    for kind in KINDS:
        assert f"\n{kind}\n" in shown
        assert all(f"  {name} " in shown for name in names(kind))
    assert all(f"  {name} " in shown for name in (*PRESETS, *VOCABULARIES))


def test_the_paper_of_a_choice_is_shown(concilium: Command) -> None:
    assert "arXiv 1708.02002" in concilium("list", "losses").out  # focal loss


def test_an_unknown_kind_is_refused_with_a_suggestion(concilium: Command) -> None:
    said = concilium("list", "loses")
    assert (said.code, said.out) == (2, "")
    assert said.err == "concilium: kind='loses' is not known; did you mean 'losses'?\n"


@pytest.mark.parametrize(
    "arguments", [("rum",), ("run",), ("run", "a.toml", "--nonsense"), ("extract", "a.toml")]
)
def test_a_wrong_usage_ends_with_2_and_without_a_traceback(
    concilium: Command, arguments: tuple[str, ...]
) -> None:
    said = concilium(*arguments)
    assert said.code == 2
    assert "Usage: concilium" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (DataError("row 3: no label"), 2, "concilium: row 3: no label\n"),
        (CheckpointError("no checkpoint is whole"), 1, "concilium: no checkpoint is whole\n"),
        (KeyboardInterrupt(), 130, "concilium: stopped\n"),  # nothing that could be resumed
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "/x: Permission denied; "),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device; free"),
        (MemoryError(), 1, "the memory does not suffice"),
    ],
)
def test_what_is_expected_to_go_wrong_is_one_line_and_an_exit_code(
    concilium: Command,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("concilium.foundation.checks.one_of", fail)
    shown = concilium("list", "losses")
    assert shown.code == code
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1
    assert "Traceback" not in shown.err


def test_an_unexpected_error_is_not_hidden(
    concilium: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A bug needs its traceback.
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("concilium.foundation.checks.one_of", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        concilium("list", "losses")


def test_an_error_without_a_number_is_explained_too() -> None:
    assert explain(OSError("the disk is gone")) == "the disk is gone"


def test_every_command_of_the_program_is_tested_here() -> None:
    registered = {own.name for own in command_line.app.registered_commands}
    assert registered == set(COMMANDS)
