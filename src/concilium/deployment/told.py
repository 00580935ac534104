"""What a run tells while it goes on, as lines of a file: who follows it may come and go.

RUN/told.jsonl   one line an event: when, of which job, what
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concilium.foundation.files import plain
from concilium.orchestration.observers import Event, PhaseStarted, Resumed, RoundFinished, Warned
from concilium.studies.bench import Job

FILE = "told.jsonl"

OF_A_ROUND = ("round", "cohort", "loss", "bytes_down", "bytes_up", "left_out", "model")
"""What of a round's record is told; the rest stands in the results."""

NOBODY = Job("", 0)
"""The job of events that belong to none: the beginning and the end of a run."""


@dataclass(frozen=True)
class Begun:
    """A run begins, or goes on, on this ground: nothing is read yet."""


@dataclass(frozen=True)
class Ended:
    """A run has come to its end, with results."""


@dataclass(frozen=True)
class Told:
    """An event, the job that it is of, and when it was told (seconds since 1970)."""

    at: float
    job: Job
    event: Event | Begun | Ended


@dataclass(frozen=True)
class Telling:
    """An observer of all jobs that writes down what they tell, in a run folder."""

    run: Path

    def __call__(self, job: Job, event: Event | Begun | Ended) -> None:
        """Write one line. What is lost in a crash is told again by the run that goes on."""
        self.run.mkdir(parents=True, exist_ok=True)
        line = {"at": time.time(), **vars(job), **_told(event)}
        path = self.run / FILE
        cut = isinstance(event, Begun) and path.exists() and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def _told(event: Event | Begun | Ended) -> dict[str, Any]:
    kind = type(event).__name__
    if isinstance(event, RoundFinished):
        record = {key: event.record[key] for key in OF_A_ROUND if key in event.record}
        return {"event": kind, "record": plain(record), "num_rounds": event.num_rounds}
    return {"event": kind, **vars(event)}


def size_of(run: Path) -> int:
    """Bytes told so far."""
    path = run / FILE
    return path.stat().st_size if path.exists() else 0


class Listening:
    """Reads what is told after so many bytes of the file, each event once."""

    def __init__(self, run: Path, after: int = 0) -> None:
        self._path, self._after = run / FILE, after

    def new(self) -> Iterator[Told]:
        """What was told since the last call; a line that is not whole yet comes later."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._after)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._after += len(whole)
        for line in whole.splitlines():
            try:
                yield _heard(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a crash


def _heard(line: Mapping[str, Any]) -> Told:
    job = Job(line["method"], line["seed"], line["fold"])
    event: Event | Begun | Ended
    match line["event"]:
        case "RoundFinished":
            record = dict(line["record"])
            if record.get("loss") is None:  # NaN stands as null
                record["loss"] = float("nan")
            event = RoundFinished(record, line["num_rounds"])
        case "PhaseStarted":
            event = PhaseStarted(line["phase"])
        case "Resumed":
            event = Resumed(line["round"])
        case "Warned":
            event = Warned(line["text"])
        case "Begun":
            event = Begun()
        case _:
            event = Ended()
    return Told(line["at"], job, event)
