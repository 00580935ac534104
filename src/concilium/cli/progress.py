"""Progress of a run on a terminal: a bar a job, with its phase, round, loss and time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from concilium.orchestration.observers import Event, PhaseStarted, Resumed, RoundFinished, Warned
from concilium.studies.bench import Job


class JobBars:
    """An observer that shows one bar for each job that has begun. Final."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[Job, TaskID] = {}

    def __call__(self, job: Job, event: Event) -> None:
        """Show what a job tells."""
        bar = self._bars.get(job)
        if bar is None:
            name = f"{job.method} · seed {job.seed}" + (f" · fold {job.fold}" if job.fold else "")
            bar = self._bars[job] = self._progress.add_task(name, total=None, state="")
        match event:
            case PhaseStarted(phase):
                self._progress.update(bar, state=phase)
            case RoundFinished(record, num_rounds):
                loss = record["loss"]
                state = f"round {record['round']}, loss {loss:.3f}"
                self._progress.update(bar, completed=record["round"], total=num_rounds, state=state)
            case Resumed(round_):
                self._progress.console.print(
                    f"{job.method}: goes on after round {round_}", markup=False
                )
            case Warned(text):
                self._progress.console.print(f"{job.method}: {text}", style="yellow", markup=False)


@contextmanager
def job_bars(console: Console) -> Iterator[JobBars]:
    """Bars while the block runs."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield JobBars(progress)
