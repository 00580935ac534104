"""What a command imports before it works: nothing heavy that it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import STUDY, write_study

COMMANDS = (
    *("demo", "inspect", "split", "recommend", "run", "extract", "evaluate", "compare", "report"),
    "list",
)
FOR_HELP = ("torch", "numpy", "pandas", "matplotlib", "monai", "pydantic", "scipy")
# torch._dynamo: its compiler, 1 to 2 seconds. scipy.stats and scipy.ndimage: half a second.
UNUSED = (
    *("torch._dynamo", "scipy.stats", "scipy.ndimage", "sklearn", "pandas", "matplotlib"),
    *("monai", "torchvision", "PIL", "concilium.reports"),
)
PHANTOM = """
title = "Tiny"
[data.source]
name = "phantom"
num_exams = 60
image_size = 32
[split]
hospitals = 2
[network]
architecture = "small_cnn"
[training]
rounds = 1
[methods.fedavg]
"""


def imported(program: str, names: tuple[str, ...], folder: Path) -> list[str]:
    """Which of these modules a program has imported in a process of its own."""
    said = f"\nimport sys; print('imported', [n for n in {names} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program + said],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "CONCILIUM_CACHE": str(folder / "cache")},
    )
    (line,) = [own for own in done.stdout.splitlines() if own.startswith("imported ")]
    found: list[str] = eval(line.removeprefix("imported "))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    program = (
        "from concilium.cli.main import app\n"
        f"try: app(['{command}', '--help'])\n"
        "except SystemExit: pass"
    )
    assert imported(program, FOR_HELP, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("study", [STUDY, PHANTOM], ids=["features", "images"])
def test_a_run_imports_until_its_results_stand_only_what_they_need(
    study: str, tmp_path: Path
) -> None:
    """The table and the report come after: they are left out here."""
    write_study(tmp_path, study)
    program = (
        "from concilium.cli import execution\n"
        "execution._finish = lambda *_: None\n"
        "from concilium.cli.main import app\n"
        "try: app(['run', 'tiny.toml', '--out', 'run'])\n"
        "except SystemExit: pass"
    )
    assert imported(program, UNUSED, tmp_path) == []
    assert (tmp_path / "run" / "results.json").exists()


def test_workers_are_known_before_a_study_is_checked(tmp_path: Path) -> None:
    """So that their imports begin first; what is wrong with the file is told later, and once."""
    from concilium.cli.execution import _workers_of

    file = tmp_path / "study.toml"
    for text, workers in (("workers = 3", 3), ("", 1), ("workers = 'x'", 1), ("workers =", 1)):
        file.write_text(text, encoding="utf-8")
        assert _workers_of(file) == workers
    assert _workers_of(tmp_path / "none.toml") == 1
