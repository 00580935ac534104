"""``concilium run``: run a study into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: `concilium run studies/nih_radiographs.toml`"


def command(
    study: Annotated[Path, typer.Argument(help="The study file (TOML).")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    workers: Annotated[int, typer.Option(help="Processes side by side; 0: as the study says.")] = 0,
) -> None:
    """Run a study: train every method at every seed, assess on test, write the report.

    Example: `concilium run studies/nih_radiographs.toml`
    """
    from concilium.cli.execution import execute

    execute(study, out, resume, workers)
