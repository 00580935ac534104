"""Which setting is used: the one with the best validation score, among as many for every method."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from definitions import Setting

from concilium.foundation.files import plain
from concilium.studies.columns import NAN


@dataclass(frozen=True)
class Trial:
    """One setting of a method, tried: a validation score for each head, and nothing of the test.

    One line of ``results/WORLD.trials.jsonl``. A score is NaN where the training diverged.
    """

    world: str
    method: str
    seed: int
    rate: float
    value: Any
    validation: dict[str, float]
    diverged: bool
    seconds: float
    definition: str

    @property
    def setting(self) -> Setting:
        """What was tried."""
        return Setting(self.rate, self.value)

    def to_json(self) -> str:
        """The trial as one line, without its end."""
        return json.dumps(plain(asdict(self)), ensure_ascii=False)

    @staticmethod
    def of_json(line: str) -> Trial:
        """The trial of a line. Raises ValueError for a line that holds none."""
        read = json.loads(line)
        if not isinstance(read, dict) or set(read) != {own.name for own in fields(Trial)}:
            raise ValueError("not a trial of the benchmark")
        scores: Mapping[str, float | None] = read["validation"]
        read["validation"] = {h: NAN if score is None else score for h, score in scores.items()}
        return Trial(**read)


def together(trials: Sequence[Trial]) -> Trial:
    """One setting tried at several seeds, as one: mean scores, NaN where one of them is."""
    first = trials[0]
    mean = {h: sum(t.validation[h] for t in trials) / len(trials) for h in first.validation}
    diverged, seconds = any(t.diverged for t in trials), sum(t.seconds for t in trials)
    return replace(first, validation=mean, diverged=diverged, seconds=seconds)


def choose(trials: Sequence[Trial], head: str) -> Setting:
    """The setting with the best validation score of this head; the first of equal ones.

    The first one where no score is defined.
    """
    best = trials[0]
    for trial in trials[1:]:
        score, so_far = trial.validation[head], best.validation[head]
        if score > so_far or (math.isnan(so_far) and not math.isnan(score)):
            best = trial
    return best.setting
