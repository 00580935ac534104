"""``concilium demo``: five phantom hospitals, in about a minute, without a download."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="Run folder; replaced if it is there.")] = Path(
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

    if not resume and (out / "manifest.json").exists():
        shutil.rmtree(out)
    with as_file(files("concilium.studies") / "demo.toml") as study:
        execute(study, out, resume, 0)
