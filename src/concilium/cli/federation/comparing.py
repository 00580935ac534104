"""Two runs of one study, over machines and in one process: what is equal, and what it costs."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from concilium.cli.tables import print_table
from concilium.deployment.told import Begun, Ended, Listening, Told
from concilium.orchestration.observers import PhaseStarted, RoundFinished

DIFFERS_BY_RIGHT = ("bytes_up", "bytes_down", "seconds", "environment")
"""What of two equal runs is not the same: a letter has an envelope, and takes time."""

FIRST = "reading, introductions"
ROUND = "a round (mean)"
Row = tuple[str, str, str, bool]


def print_equality(console: Console, one: Path, other: Path) -> bool:
    """Print every round's hash of both runs, and whether all else is the same; whether all is."""
    rows = list(compared(results(one), results(other)))
    cells = [[what, a, b, "yes" if same else "NO"] for what, a, b, same in rows]
    titles = ("after", "deployed", "embedded", "equal")
    print_table(console, titles, cells, "\nThe model's hash")
    equal = bool(rows) and all(same for *_, same in rows)
    verdict = "equal, bit for bit" if equal else "[bold red]the runs differ"
    console.print(f"{len(rows)} comparisons: {verdict}", highlight=False)
    return equal


def compared(one: Sequence[Any], other: Sequence[Any]) -> Iterator[Row]:
    """A row for every round and result: what, in one, in the other, whether it is the same."""
    if len(one) != len(other):
        yield "finished jobs", str(len(one)), str(len(other)), False
    for a, b in zip(one, other, strict=False):
        job = f"{a['method']}, seed {a['seed']}, fold {a['fold']}"
        for i in range(max(len(a["history"]), len(b["history"]))):
            mine, its = _hash(a, i), _hash(b, i)
            yield f"{job}, round {i + 1}", mine[:12], its[:12], mine == its
        yield f"{job}, exact head", a["model"][:12], b["model"][:12], a["model"] == b["model"]
        same = without_ways(a) == without_ways(b)
        yield f"{job}, all results", "", "", same


def _hash(result: Any, place: int) -> str:
    history = result["history"]
    return str(history[place]["model"]) if place < len(history) else "–"


def without_ways(value: Any) -> Any:
    """A result without what differs by right."""
    if isinstance(value, dict):
        return {k: without_ways(own) for k, own in value.items() if k not in DIFFERS_BY_RIGHT}
    if isinstance(value, list):
        return [without_ways(own) for own in value]
    return value


def results(run: Path) -> list[Any]:
    """The results of a finished run."""
    found: list[Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return found


def print_overhead(console: Console, one: Path, other: Path, start: float) -> None:
    """Print what both runs took: seconds by phase, and bytes per hospital and round."""
    a, b = (list(Listening(run).new()) for run in (one, other))
    deployed, embedded = seconds_of(a), seconds_of(b)
    rows = [["start of all processes", f"{start:.1f}", "–"]]
    rows += [
        [what, f"{deployed[what]:.2f}", f"{embedded.get(what, math.nan):.2f}"] for what in deployed
    ]
    titles = ("seconds", "deployed", "embedded")
    print_table(console, titles, rows, "\nWhat it takes")
    rows = [
        [f"bytes {way}", *(f"{bytes_of(own, key):,.0f}" for own in (a, b))]
        for way, key in (("to a hospital", "bytes_down"), ("from a hospital", "bytes_up"))
    ]
    print_table(console, ("per hospital and round", "deployed", "embedded"), rows)


def seconds_of(told: Sequence[Told]) -> Mapping[str, float]:
    """Seconds of each phase, added up over jobs; of a round the mean."""
    spent: dict[str, float] = defaultdict(float)
    phase, since, rounds = "", math.nan, 0
    for own in told:
        match own.event:
            case Begun():
                phase, since = FIRST, own.at
            case PhaseStarted(name):
                spent[phase] += own.at - since
                phase, since = name, own.at
            case RoundFinished():
                rounds += 1
            case Ended():
                spent[phase] += own.at - since
    if rounds:
        spent[ROUND] = spent["rounds"] / rounds
    spent.pop("", None)
    return spent


def bytes_of(told: Sequence[Told], key: str) -> float:
    """Mean bytes per hospital and round."""
    records = [own.event.record for own in told if isinstance(own.event, RoundFinished)]
    hospitals = sum(len(own["cohort"]) - len(own.get("left_out", ())) for own in records)
    return sum(own[key] for own in records) / hospitals if hospitals else math.nan
