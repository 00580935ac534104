"""``concilium federation status``: how a side stands, from its own folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

LAST = 5
"""Refusals that are shown."""


def status(
    folder: Annotated[Path, typer.Argument(help="A coordinator's or a hospital's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """How a coordinator (hospitals, runs) or a hospital (studies, refusals) stands.

    Example: `concilium federation status trial/coordinator`
    """
    from rich.console import Console

    from concilium.cli.federation.folders import HOSPITAL

    is_hospital = (folder / HOSPITAL).exists()
    found = of_hospital(folder) if is_hospital else of_coordinator(folder)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    elif is_hospital:
        _print_hospital(Console(), found)
    else:
        _print_coordinator(Console(), found)


def of_coordinator(folder: Path) -> dict[str, Any]:
    """Whether it runs, who is admitted and online, and how every run stands."""
    from concilium.cli.federation.folders import is_held, read_home
    from concilium.cli.federation.needs import needs_flower

    home = read_home(folder)
    needs_flower()
    from concilium.cli.federation.submitting import commands_of
    from concilium.flower.keys import members
    from concilium.foundation.errors import FederationError

    states = {}
    runs = is_held(home.folder)
    if runs:
        try:
            states = {node.key: node.status for node in commands_of(home).nodes()}
        except FederationError:
            runs = False  # it is starting, or its server is being started again
    known = members(home.folder)
    return {
        "coordinator": str(home.folder),
        "address": f"{home.listen}:{home.port}",
        "running": runs,
        "hospitals": {name: states.get(key, "offline") for name, key in known.items()},
        "runs": [_of_run(path) for path in home.runs],
    }


def _of_run(run: Path) -> dict[str, Any]:
    """A run: its state, where it is, and who was left out of the last round and of all."""
    from concilium.cli.federation.folders import is_held
    from concilium.deployment.told import Listening
    from concilium.orchestration.observers import PhaseStarted, RoundFinished
    from concilium.studies.run import FEDERATION

    found: dict[str, Any] = {"run": run.name, "state": "stopped", "method": "", "phase": ""}
    found |= {"round": 0, "rounds": 0, "left_out": {}, "error": "", "hospitals": {}}
    for told in Listening(run).new():
        if isinstance(told.event, PhaseStarted):
            found |= {"method": told.job.method, "phase": told.event.phase}
        elif isinstance(told.event, RoundFinished):
            record = told.event.record
            found |= {"method": told.job.method, "round": record["round"]}
            found |= {"rounds": told.event.num_rounds, "left_out": record.get("left_out", {})}
    error = run / "error.txt"
    if is_held(run):
        found["state"] = "running"
    elif error.exists():
        found |= {"state": "failed", "error": error.read_text(encoding="utf-8").strip()}
    elif (run / "results.json").exists():
        found["state"] = "finished"
    if (run / FEDERATION).exists():
        account = json.loads((run / FEDERATION).read_text(encoding="utf-8"))
        found |= {"exchanges": account["exchanges"], "hospitals": account["hospitals"]}
    return found


def of_hospital(folder: Path) -> dict[str, Any]:
    """Whether it runs, which studies it answers, and what it refused last."""
    from concilium.cli.federation.folders import address_of, is_held
    from concilium.deployment.allowed import Allowed
    from concilium.deployment.diary import FILE
    from concilium.deployment.policy import read_hospital

    hospital = read_hospital(folder)
    diary = folder / FILE
    lines = diary.read_text(encoding="utf-8").splitlines() if diary.exists() else []
    return {
        "hospital": hospital.name,
        "coordinator": address_of(folder),
        "running": is_held(folder),
        "studies": {digest: own.title for digest, own in Allowed(folder).studies().items()},
        "letters": len(lines),
        "last": lines[-1] if lines else "",
        "refusals": [line for line in lines if " refused " in line][-LAST:],
    }


def _print_coordinator(console: Console, found: dict[str, Any]) -> None:
    from concilium.cli.federation.outcome import left_out_of
    from concilium.cli.tables import print_table

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    state = "runs" if found["running"] else "does not run"
    say(f"coordinator {state}, {found['address']}")
    rows = [[name, own] for name, own in found["hospitals"].items()]
    print_table(console, ("hospital", "state"), rows, "\nHospitals", text=(0, 1))
    for run in found["runs"]:
        where = f", {run['method']}: {run['phase']}, round {run['round']} of {run['rounds']}"
        say(f"\nrun {run['run']}: {run['state']}{where if run['method'] else ''}")
        for name, why in run["left_out"].items():
            say(f"  the last round was without {name}: {why}")
        if run["error"]:
            say(f"  {run['error']}")
        rows = [
            [name, f"{own['answered']}/{run['exchanges']}", *left_out_of(own)]
            for name, own in run["hospitals"].items()
        ]
        if rows:
            titles = ("hospital", "answered", "left out", "last reason")
            print_table(console, titles, rows, text=(0, 2, 3))


def _print_hospital(console: Console, found: dict[str, Any]) -> None:
    state = "runs" if found["running"] else "does not run"
    lines = [f"hospital {found['hospital']} {state}, coordinator at {found['coordinator']}"]
    lines += [f"answers: {title} ({digest[:12]})" for digest, title in found["studies"].items()]
    if not found["studies"]:
        lines.append("answers no study: allow one with `concilium federation allow`")
    lines.append(f"letters so far: {found['letters']}")
    if found["last"]:
        lines.append(f"last: {found['last']}")
    if found["refusals"]:
        lines.append("last refusals:")
        lines += [f"  {line}" for line in found["refusals"]]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
