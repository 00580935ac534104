"""What ``run`` and ``demo`` share: check, run with progress, print the table, write the report.

What each step needs is imported before it, so that the first gradient step does not wait for what
draws the report.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from rich.console import Console

from concilium.cli.places import cache_folder, run_folder
from concilium.cli.stopping import resumable
from concilium.studies import side_by_side


def execute(file: Path, out: Path | None, resume: bool, workers: int) -> None:
    """Run the study in a file; print its table and where its report is."""
    if (workers or _workers_of(file)) > 1:
        side_by_side.prepare()  # their imports run beside ours
    from concilium.cli.progress import job_bars
    from concilium.cli.studies import checked_study
    from concilium.studies.choice_checks import TABLES
    from concilium.studies.run import run_study

    console = Console()
    study = checked_study(file, TABLES)
    if workers:
        study = study.model_copy(update={"workers": workers})
    run = out or run_folder(file)
    console.print(study.title, style="bold", markup=False, highlight=False)
    with resumable(run):
        with job_bars(console) as bars:
            run_study(study, file.read_text(encoding="utf-8"), run, cache_folder(), resume, bars)
        _finish(console, run)


def _workers_of(file: Path) -> int:
    """How many processes a study asks for, before it is checked; 1 where that cannot be read."""
    try:
        workers = tomllib.loads(file.read_text(encoding="utf-8")).get("workers")
    except (OSError, ValueError):
        return 1
    return workers if isinstance(workers, int) else 1


def _finish(console: Console, run: Path) -> None:
    """Print the table of a run, and write its report."""
    from concilium.cli.tables import print_summary
    from concilium.reports.page import write_report

    print_summary(console, run)
    report = write_report(run)
    console.print(f"Report: {report}", markup=False, soft_wrap=True)
