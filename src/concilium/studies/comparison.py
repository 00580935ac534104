"""Methods side by side: means and spreads over seeds and folds, paired differences, one table.

The numbers are those of ``studies.columns``. Undefined is NaN with a count, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from concilium.foundation.checks import one_of, suggestion
from concilium.foundation.errors import Problem, StudyError
from concilium.metrics.label_set_recall import erasure
from concilium.studies.columns import COLUMNS, MEASURED, NAN, SHORT, Result, defined

FINAL, BEFORE = "final", "before consolidation"
POOLED = "pooled"
UNDEFINED = "–"


@dataclass(frozen=True)
class Measured:
    """Mean and sample standard deviation over runs in which a number is defined, and how many are.

    ``mean`` is NaN without any; ``spread`` is NaN with fewer than two.
    """

    mean: float
    spread: float
    num_defined: int
    num_undefined: int

    @staticmethod
    def of(values: Iterable[float]) -> Measured:
        """Mean and spread of values, NaN left out and counted."""
        every = np.array(list(values), np.float64)
        defined = every[~np.isnan(every)]
        mean = float(defined.mean()) if len(defined) else NAN
        spread = float(defined.std(ddof=1)) if len(defined) > 1 else NAN
        return Measured(mean, spread, len(defined), len(every) - len(defined))

    def text(self, form: str) -> str:
        """As a table writes it: mean ± spread, "–" where undefined, (2 of 3) where partly so."""
        if not self.num_defined:
            return UNDEFINED
        text = format(self.mean, form)
        if self.num_defined > 1:
            text += f" ± {format(self.spread, form)}"
        total = self.num_defined + self.num_undefined
        return text if not self.num_undefined else f"{text} ({self.num_defined} of {total})"


@dataclass(frozen=True)
class Row:
    """One method over its seeds and folds: its final model, or the one before its exact head."""

    method: str
    stage: str
    trains: str
    measured: Mapping[str, Measured]

    @property
    def title(self) -> str:
        """As a table names it."""
        return self.method if self.stage == FINAL else f"{self.method}, {self.stage}"


@dataclass(frozen=True)
class Difference:
    """Mean of method − reference over pairs of equal seed and fold, with a 95 % t interval.

    ``low`` and ``high`` are NaN with fewer than two pairs. Folds share training exams, so over
    folds the interval is too narrow; over seeds it holds for these data, not for other hospitals.
    """

    method: str
    reference: str
    key: str
    mean: float
    low: float
    high: float
    num_pairs: int
    num_undefined: int


def measure(
    results: Sequence[Result], rare_labels: Sequence[str] = ()
) -> dict[tuple[str, str], dict[tuple[int, int], dict[str, float]]]:
    """Every column by (method, stage), then by (seed, fold) ascending; NaN where undefined.

    Raises StudyError where one method has two results for the same seed and fold.
    """
    _check_single(results)
    found: dict[tuple[str, str], dict[tuple[int, int], dict[str, float]]] = {}
    for result in sorted(results, key=lambda r: (r["method"], r["seed"], r["fold"])):
        for stage, name in ((FINAL, "test"), (BEFORE, "before_consolidation")):
            if (test := result.get(name)) is not None:
                values = {c.key: c.value(result, test, rare_labels) for c in MEASURED}
                own = found.setdefault((result["method"], stage), {})
                own[result["seed"], result["fold"]] = values
    pooled = found.get((POOLED, FINAL), {})
    for runs in found.values():
        for place, values in runs.items():
            reference = pooled.get(place, {}).get("set_recall", NAN)
            values["erasure"] = float(erasure(values["set_recall"], reference))
    return found


def summarise(
    results: Sequence[Result], rare_labels: Sequence[str] = (), order: Sequence[str] = ()
) -> tuple[Row, ...]:
    """A row for each method, after it one for its model before consolidation where there is one.

    ``rare_labels`` are those of the study; rows stand in the ``order`` of methods, the others after
    them by name. The order of the results changes nothing.
    """
    found = measure(results, rare_labels)
    trains = {result["method"]: result["trains"] for result in results}
    rank = {method: place for place, method in enumerate(order)}
    keys = sorted(found, key=lambda k: (rank.get(k[0], len(rank)), k[0], k[1] != FINAL))
    return tuple(
        Row(
            method,
            stage,
            trains[method],
            {
                key: Measured.of(values[key] for values in found[method, stage].values())
                for key in COLUMNS
            },
        )
        for method, stage in keys
    )


def difference(
    results: Sequence[Result],
    method: str,
    reference: str,
    key: str,
    rare_labels: Sequence[str] = (),
) -> Difference:
    """Method − reference in one column, paired by seed and fold; final models.

    Pairs in which either is undefined are counted and left out. Raises InputError for a column, and
    StudyError for a method, that does not exist.
    """
    one_of(COLUMNS, column=key)
    found = measure(results, rare_labels)
    _check_methods((method, reference), [name for name, stage in found if stage == FINAL])
    first, second = found[method, FINAL], found[reference, FINAL]
    every = [first[place][key] - second[place][key] for place in first if place in second]
    gaps = np.array(defined(every), np.float64)
    low, high = _t_interval(gaps)
    mean = float(gaps.mean()) if len(gaps) else NAN
    return Difference(method, reference, key, mean, low, high, len(gaps), len(every) - len(gaps))


def _t_interval(gaps: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    if len(gaps) < 2:
        return NAN, NAN
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    reach = float(stats.t.ppf(0.975, len(gaps) - 1)) * error
    return float(gaps.mean()) - reach, float(gaps.mean()) + reach


def as_text(rows: Sequence[Row], keys: Sequence[str] = SHORT) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of a table of methods; a column that no row defines is left out."""
    used = [k for k in keys if any(row.measured[k].num_defined for row in rows)]
    titles = ["method", *(COLUMNS[key].title for key in used)]
    cells = [
        [row.title, *(row.measured[key].text(COLUMNS[key].form) for key in used)] for row in rows
    ]
    return titles, cells


def _check_single(results: Sequence[Result]) -> None:
    places = [(result["method"], result["seed"], result["fold"]) for result in results]
    doubles = sorted({place for place in places if places.count(place) > 1})
    if doubles:
        remedy = "give methods of different runs different names"
        raise StudyError(
            [Problem(f"{m}, seed {s}, fold {f}", "has two results", remedy) for m, s, f in doubles]
        )


def _check_methods(asked: Iterable[str], known: Sequence[str]) -> None:
    problems = [
        Problem("", f"there is no method {name!r}", suggestion(name, known))
        for name in asked
        if name not in known
    ]
    if problems:
        raise StudyError(problems)
