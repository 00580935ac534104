"""What a run over hospitals gave: the table of its methods, who stayed away, its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from concilium.cli.tables import print_summary, print_table
from concilium.foundation.files import plain
from concilium.reports.page import write_report
from concilium.studies.run import FEDERATION


def print_outcome(console: Console, run: Path) -> None:
    """Print the tables of a finished run, and write its report."""
    print_summary(console, run)
    account = json.loads((run / FEDERATION).read_text(encoding="utf-8"))
    print_absent(console, account)
    console.print(f"Report: {write_report(run)}", markup=False, highlight=False, soft_wrap=True)


def print_absent(console: Console, account: Mapping[str, Any]) -> None:
    """Every hospital: how many exchanges it answered, and why it was left out of others."""
    rows = [
        [name, f"{own['answered']}/{account['exchanges']}", *left_out_of(own)]
        for name, own in plain(account["hospitals"]).items()
    ]
    titles = ("hospital", "answered", "left out", "last reason")
    print_table(console, titles, rows, "\nExchanges", text=(0, 2, 3))


def left_out_of(own: Mapping[str, Any]) -> tuple[str, str]:
    """How often a hospital was left out, by reason, and the last reason in words."""
    times = ", ".join(f"{count}× {code}" for code, count in own["left_out"].items())
    return times or "–", str(own["last_reason"]) or "–"
