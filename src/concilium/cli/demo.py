"""``concilium demo``: five phantom hospitals, in three minutes, without a download."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

FIRST_LINE = "# concilium demo\n"


def command(
    out: Annotated[Path, typer.Option(help="Run folder; a demo in it is replaced.")] = Path(
        "runs/demo"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
) -> None:
    """Train a federation of five phantom hospitals and write a report. Needs no data.

    One hospital alone has seen a rare finding and a rare pair of findings: what is left of them
    after training together? All images are synthetic.

    Example: `concilium demo`
    """
    from concilium.cli.execution import execute

    if not resume and is_demo(out):
        shutil.rmtree(out)
    with as_file(files("concilium.studies") / "demo.toml") as study:
        execute(study, out, resume, 0)


def is_demo(run: Path) -> bool:
    """Whether a folder holds a run of this command, whose study file begins with its name.

    Nothing else is ever removed: a run of another study in the folder is refused.
    """
    study = run / "study.toml"
    return study.is_file() and study.read_text(encoding="utf-8").startswith(FIRST_LINE)
