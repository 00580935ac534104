"""``concilium report``: the report of a run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
) -> None:
    """Write the report of a run again: one HTML file that opens offline.

    Also for a run that is not finished, once one of its jobs (a method at a seed and fold) is: it
    then shows what is finished.

    Example: `concilium report runs/demo`
    """
    from rich.console import Console

    from concilium.cli.tables import print_summary
    from concilium.reports.page import write_report
    from concilium.studies.run import check_has_results

    check_has_results(run)
    console = Console()
    print_summary(console, run)
    console.print(f"Report: {write_report(run)}", soft_wrap=True, markup=False)
