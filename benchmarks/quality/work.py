"""One unit of work: a trial, with the heads that are scored for tuning or assessed for rows."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import assessment
import bodies
import torch
from bodies import Bodies, Training, Workplace
from definitions import DATA, data_folder

from concilium.studies.columns import NAN
from concilium.training.memory import keep_freed_memory


@dataclass(frozen=True)
class Work:
    """``scored`` heads are solved and scored on validation, ``assessed`` ones on test as well.

    ``folder`` is where bodies are kept; ``keep`` puts them there.
    """

    training: Training
    scored: tuple[str, ...]
    assessed: tuple[str, ...]
    folder: Path
    keep: bool = False

    @property
    def file(self) -> Path:
        """Where the bodies of this trial are kept."""
        return self.folder / f"{self.training.key}.pt"


@dataclass(frozen=True)
class Done:
    """Validation scores by head, what a row says by assessed head; ``error`` where it failed."""

    scores: Mapping[str, float] = field(default_factory=dict)
    found: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    diverged: bool = False
    seconds: float = NAN
    error: str = ""


def prepare_process() -> None:
    """One operator thread, memory that is kept, and where real data stand."""
    torch.set_num_threads(1)
    keep_freed_memory()
    os.environ.setdefault(DATA, str(data_folder()))


def do(work: Work, workplace: Workplace) -> Done:
    """Do it; an error is told, not raised, so that the other trials go on."""
    started = time.perf_counter()
    try:
        trained = _bodies(work, workplace)
        if trained is None:
            return _diverged(work, time.perf_counter() - started)
        scores, found = {}, {}
        for head in dict.fromkeys((*work.scored, *work.assessed)):
            headed = assessment.solve(work.training, trained, head, workplace)
            scores[head] = headed.validation
            if head in work.assessed:
                found[head] = assessment.assess(work.training, headed)
        return Done(scores, found, False, time.perf_counter() - started)
    except Exception:
        return Done(error=traceback.format_exc())


def _bodies(work: Work, workplace: Workplace) -> Bodies | None:
    kept = bodies.load(work.file)
    if kept is not None:
        return kept
    trained = bodies.train(work.training, workplace)
    if work.keep and trained is not None:
        bodies.save(trained, work.file)
    return trained


def _diverged(work: Work, seconds: float) -> Done:
    scores = dict.fromkeys((*work.scored, *work.assessed), NAN)
    found = {head: assessment.diverged(work.training, head) for head in work.assessed}
    return Done(scores, found, True, seconds)
