"""Every command explains itself, and whatever goes wrong is a line and an exit code."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from concilium.cli import main as command_line
from concilium.cli.main import explain
from concilium.foundation.components import KINDS, describe, names
from concilium.foundation.errors import CheckpointError, DataError

from .conftest import Command

COMMANDS = ("demo", "inspect", "split", "run", "extract", "evaluate", "compare", "report", "list")
HEAVY = ("torch", "pandas", "matplotlib", "monai", "pydantic", "scipy")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example(concilium: Command, name: str) -> None:
    shown = concilium(name, "--help")
    assert shown.code == 0
    assert f"Example: concilium {name}" in " ".join(shown.out.split())


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
    words = " ".join(concilium("list", kind).out.split())
    for name in names(kind):
        described = describe(kind, name)
        assert f"{name} {described.summary}" in words
        assert " ".join(described.reference.split()) in words
        for key, default in described.settings.items():
            assert " ".join(f"{key} = {default}".split()) in words


def test_the_whole_list_has_every_choice(concilium: Command) -> None:
    shown = concilium("list").out
    for kind in KINDS:
        assert f"\n{kind}\n" in shown
        assert all(f"  {name} " in shown for name in names(kind))


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
        (KeyboardInterrupt(), 130, "concilium: stopped; what is committed stays"),
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
