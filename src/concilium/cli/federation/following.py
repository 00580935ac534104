"""Following a run: its rounds and who is left out of them, until it ends, well or with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console

from concilium.cli.federation.folders import is_held
from concilium.cli.federation.submitting import Run
from concilium.cli.progress import JobBars, job_bars
from concilium.cli.stopping import StoppedError
from concilium.deployment.told import Begun, Ended, Listening, Told
from concilium.flower.server_app import ERROR
from concilium.foundation.errors import FederationError
from concilium.orchestration.observers import RoundFinished

LOOK_EVERY = 0.5
SILENT_FOR = 30.0
"""Seconds after which a coordinator that does not answer is no longer waited for."""


def nothing() -> None:
    """What is done between two looks, unless a trial tends its own processes."""


def follow(
    console: Console, run: Run, after: int, meanwhile: Callable[[], object] = nothing
) -> None:
    """Show what a run tells, from so many bytes on, until it has ended.

    Raises FederationError with the reason where it failed, and StoppedError on an interruption,
    which leaves the run as it is.
    """
    listening, ending = Listening(run.folder, after), _Ending(run)
    try:
        with job_bars(console) as bars:
            heard = _Hearing(console, bars)
            while not ending.has_come(heard.ended):
                for told in listening.new():
                    heard(told)
                meanwhile()
                time.sleep(LOOK_EVERY)
            for told in listening.new():
                heard(told)
    except KeyboardInterrupt:
        where = f"{run.folder} --coordinator {run.home.folder}"
        raise StoppedError(
            "no longer followed; the run goes on\n"
            f"  follow it again: concilium federation resume {where}\n"
            f"  stop it:         concilium federation stop {where}"
        ) from None
    ending.check()


class _Hearing:
    """Shows events: bars of jobs, and a line whenever others are left out than before."""

    def __init__(self, console: Console, bars: JobBars) -> None:
        self._console, self._bars = console, bars
        self._left_out: Mapping[str, str] = {}
        self.ended = False

    def __call__(self, told: Told) -> None:
        event = told.event
        if isinstance(event, Begun | Ended):
            self.ended = isinstance(event, Ended)
            return
        self._bars(told.job, event)
        if isinstance(event, RoundFinished):
            left_out = event.record.get("left_out", {})
            if left_out != self._left_out:
                self._say(event.record["round"], left_out)
            self._left_out = left_out

    def _say(self, round_: int, left_out: Mapping[str, str]) -> None:
        lines = [f"round {round_} without {name}: {why}" for name, why in left_out.items()]
        back = [name for name in self._left_out if name not in left_out]
        lines += [f"round {round_}: {name} is back" for name in back]
        for line in lines:
            self._console.print(line, style="yellow", markup=False, highlight=False)


class _Ending:
    """Whether a run has ended, by what its folder and the SuperLink say."""

    def __init__(self, run: Run) -> None:
        self._run, self._why = run, ""
        self._heard_at = time.monotonic()

    def has_come(self, told: bool) -> bool:
        """Whether it has. ``told``: the run itself has said so."""
        error = self._run.folder / ERROR
        if error.exists():
            self._why = error.read_text(encoding="utf-8").strip()
            return True
        try:
            state = self._run.commands.run(self._run.number)
            self._heard_at = time.monotonic()
        except FederationError as silence:
            if time.monotonic() - self._heard_at < SILENT_FOR or is_held(self._run.folder):
                return False
            self._why = str(silence)
            return True
        if state.is_over and state.outcome != "completed":
            self._why = state.details or f"the run was {state.outcome or 'ended'}"
        return state.is_over or (told and not is_held(self._run.folder))

    def check(self) -> None:
        """Raise FederationError where the run has failed."""
        error = self._run.folder / ERROR
        if error.exists():  # it may have been written after the SuperLink said that it is over
            self._why = error.read_text(encoding="utf-8").strip()
        if self._why:
            where = f"{self._run.folder} --coordinator {self._run.home.folder}"
            raise FederationError(
                f"{self._why}\n  go on from the last committed round: "
                f"concilium federation resume {where}"
            )
