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

    A method of the study takes another loss by its name, with settings, or from your own package
    by the dotted name of its module:

    - below `[methods.mine]`: `loss = {name = "focal", gamma = 2}`
    - below `[methods.ours]`: `loss = {name = "my_package.my_loss", strength = 0.5}`

    So do sources, networks and all that `concilium list` shows.

    Example: `concilium run studies/nih_radiographs.toml`
    """
    from concilium.cli.execution import execute

    execute(study, out, resume, workers)
