"""What ``run`` and ``demo`` share: check, run with progress, print the table, write the report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from concilium.cli.places import cache_folder, run_folder
from concilium.cli.progress import job_bars
from concilium.cli.stopping import resumable
from concilium.cli.studies import checked_study
from concilium.cli.tables import print_summary
from concilium.reports.page import write_report
from concilium.studies.assembly import TABLES
from concilium.studies.run import run_study


def execute(file: Path, out: Path | None, resume: bool, workers: int) -> None:
    """Run the study in a file; print its table and where its report is."""
    console = Console()
    study = checked_study(file, TABLES)
    if workers:
        study = study.model_copy(update={"workers": workers})
    run = out or run_folder(file)
    console.print(study.title, style="bold", markup=False, highlight=False)
    with resumable(run):
        with job_bars(console) as bars:
            run_study(study, file.read_text(encoding="utf-8"), run, cache_folder(), resume, bars)
        print_summary(console, run)
        report = write_report(run)
    console.print(f"Report: {report}", markup=False, soft_wrap=True)
