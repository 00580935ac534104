"""``concilium federation trial``: a whole federation on this machine, beside an embedded run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

FIRST_LINE = "# concilium federation trial\n"


def trial(
    out: Annotated[Path, typer.Option(help="Its folder; a trial in it is replaced.")] = Path(
        "runs/federation"
    ),
) -> None:
    """Run a coordinator and three hospitals as processes of this machine, and compare.

    Each hospital has its own folder of synthetic radiographs and its own key; everything between
    them is encrypted. Then the same study runs in one process over the same folders: the model's
    hash after every round and all results must be the same, or the exit code is 1.

    Example: `concilium federation trial`
    """
    from rich.console import Console

    from concilium.cli.federation.needs import needs_flower
    from concilium.foundation.errors import Problem, StudyError

    needs_flower()
    from concilium.cli.federation.phantoms import three_hospitals
    from concilium.cli.federation.rehearsed import run_trial

    if out.exists() and any(out.iterdir()):
        if not is_trial(out):
            what = "is not empty, and holds no trial"
            raise StudyError(Problem(str(out), what, "name another folder with --out"))
        shutil.rmtree(out)
    if not run_trial(Console(), out, three_hospitals()):
        raise typer.Exit(1)


def is_trial(folder: Path) -> bool:
    """Whether a folder was made by this command. Nothing else is ever removed."""
    study = folder / "study.toml"
    return study.is_file() and study.read_text(encoding="utf-8").startswith(FIRST_LINE)
