"""Methods side by side: means and spreads over seeds and folds, paired differences, one table.

The numbers are those of ``studies.columns``. Undefined is NaN with a count, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from concilium.foundation.checks import one_of, suggestion
from concilium.foundation.errors import Problem, StudyError
from concilium.metrics.label_set_recall import erasure
from concilium.studies.columns import (
    MEASURED,
    NAN,
    SHORT,
    Column,
    Result,
    columns,
    defined,
    metric_columns,
)
from concilium.studies.coverage import defined_hospitals

FINAL, BEFORE = "final", "before consolidation"
POOLED = "pooled"
MIN_PAIRS = 3  # t(0.975) is 12.7 with two pairs: an interval that says nothing, 4.3 with three
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

    ``low`` and ``high`` are NaN with fewer than ``MIN_PAIRS`` pairs, and are never clipped. Folds
    share training exams, so over folds the interval is too narrow; over seeds it holds for these
    data, not for other hospitals.
    """

    method: str
    reference: str
    key: str
    mean: float
    low: float
    high: float
    num_pairs: int
    num_undefined: int

    @property
    def has_interval(self) -> bool:
        """Whether there are pairs enough for an interval."""
        return self.num_pairs >= MIN_PAIRS

    @property
    def within_noise(self) -> bool:
        """Whether there is an interval, and 0 lies in it."""
        return self.has_interval and self.low <= 0 <= self.high

    def interval_text(self, form: str) -> str:
        """The interval as a table writes it, or why there is none."""
        if self.has_interval:
            return f"{format(self.low, form)} to {format(self.high, form)}"
        return f"{self.num_pairs} pair{'s' * (self.num_pairs != 1)}: too few"


def measure(
    results: Sequence[Result], rare_labels: Sequence[str] = ()
) -> dict[tuple[str, str], dict[tuple[int, int], dict[str, float]]]:
    """Every column by (method, stage), then by (seed, fold) ascending; NaN where undefined.

    Hospitals that are not defined in every run count in none, see ``coverage``.

    Raises StudyError where one method has two results for the same seed and fold.
    """
    _check_single(results)
    measured, compared = (*MEASURED, *metric_columns()), _compared(results)
    found: dict[tuple[str, str], dict[tuple[int, int], dict[str, float]]] = {}
    for result in sorted(results, key=lambda r: (r["method"], r["seed"], r["fold"])):
        for stage, name in ((FINAL, "test"), (BEFORE, "before_consolidation")):
            if (test := result.get(name)) is not None:
                test = _only(test, compared[tuple(test["by_hospital"])])
                values = {c.key: c.value(result, test, rare_labels) for c in measured}
                own = found.setdefault((result["method"], stage), {})
                own[result["seed"], result["fold"]] = values
    pooled = found.get((POOLED, FINAL), {})
    for runs in found.values():
        for place, values in runs.items():
            reference = pooled.get(place, {}).get("set_recall", NAN)
            values["erasure"] = float(erasure(values["set_recall"], reference))
    return found


def _compared(results: Sequence[Result]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The hospitals that every result with the same hospitals defines."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result["test"]["by_hospital"]), []).append(result)
    return {names: defined_hospitals(own) for names, own in groups.items()}


def _only(test: Result, hospitals: Sequence[str]) -> Result:
    return {**test, "by_hospital": {name: test["by_hospital"][name] for name in hospitals}}


def summarise(
    results: Sequence[Result], rare_labels: Sequence[str] = (), order: Sequence[str] = ()
) -> tuple[Row, ...]:
    """A row for each method, after it one for its model before consolidation where there is one.

    ``rare_labels`` are those of the study; rows stand in the ``order`` of methods, the others after
    them by name. The order of the results changes nothing.
    """
    found, every = measure(results, rare_labels), columns()
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
                for key in every
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
    one_of(columns(), column=key)
    found = measure(results, rare_labels)
    _check_methods((method, reference), [name for name, stage in found if stage == FINAL])
    first, second = found[method, FINAL], found[reference, FINAL]
    every = [first[place][key] - second[place][key] for place in first if place in second]
    gaps = np.array(defined(every), np.float64)
    low, high = _t_interval(gaps)
    mean = float(gaps.mean()) if len(gaps) else NAN
    return Difference(method, reference, key, mean, low, high, len(gaps), len(every) - len(gaps))


def _t_interval(gaps: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    if len(gaps) < MIN_PAIRS:
        return NAN, NAN
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    reach = float(stdtrit(len(gaps) - 1, 0.975)) * error
    return float(gaps.mean()) - reach, float(gaps.mean()) + reach


def as_text(rows: Sequence[Row], keys: Sequence[str] = SHORT) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of a table of methods; a column that no row defines is left out."""
    used = used_columns(rows, keys)
    titles = ["method", *(column.title for column in used)]
    cells = [[row.title, *(row.measured[c.key].text(c.form) for c in used)] for row in rows]
    return titles, cells


def used_columns(rows: Sequence[Row], keys: Sequence[str]) -> list[Column]:
    """The columns of these keys that some row defines."""
    every = columns()
    return [every[key] for key in keys if any(row.measured[key].num_defined for row in rows)]


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
