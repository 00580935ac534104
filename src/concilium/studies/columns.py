"""The numbers by which methods are compared: one column each, from a result as plain values.

What a result holds is said in ``studies.results``. Undefined is NaN, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from concilium.foundation import components
from concilium.metrics.contract import Metric

Result = Mapping[str, Any]
Better = Literal["higher", "lower"]
NAN = float("nan")


@dataclass(frozen=True)
class Column:
    """One number of a method: its key, how a table names and writes it, which way is better.

    ``form`` is a format specification; ``value(result, test, rare_labels)`` gives NaN where the
    number is undefined, ``test`` being the description of the model that is looked at.
    """

    key: str
    title: str
    form: str
    better: Better
    meaning: str
    value: Callable[[Result, Result, Sequence[str]], float]


def number(values: Any, *path: str) -> float:
    """The number at a path of keys in plain values; NaN where it is missing or null."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return NAN if values is None else float(values)


def defined(values: Iterable[float | None]) -> list[float]:
    """The numbers among values that may be null or NaN."""
    return [float(v) for v in values if v is not None and not math.isnan(v)]


def mean_defined(values: Iterable[float | None]) -> float:
    """Mean of the defined values; NaN without any."""
    found = defined(values)
    return float(np.mean(found)) if found else NAN


def rare_precision(test: Result, rare_labels: Sequence[str]) -> float:
    """Mean AP of named labels; NaN where none of them has one."""
    values = dict(zip(test["labels"], test["metrics"]["average_precision"], strict=True))
    return mean_defined(values.get(label) for label in rare_labels)


def recall_of_sets(test: Result) -> float:
    """Mean recall of the followed label sets; NaN where none is present."""
    return mean_defined(own["recall"] for own in test["label_sets"])


def worst_hospital(test: Result) -> float:
    """The lowest macro AUROC of a hospital among those that have one; NaN without any.

    ``comparison.measure`` gives only the hospitals that every run defines: a hospital that is
    missing in one seed would make another one the worst there.
    """
    hospitals = test["by_hospital"].values()
    return min(defined(number(own, "macro", "auroc", "mean") for own in hospitals), default=NAN)


def missed_findings(test: Result) -> float:
    """Missed findings of all labels per 1,000 exams at a matched alert budget; NaN without any."""
    missed = defined(test["metrics"]["missed_findings"])
    return math.fsum(missed) if missed else NAN


def megabytes(result: Result) -> float:
    """What travelled in the rounds, up and down, in 10^6 bytes; NaN where nothing is federated."""
    if result["trains"] != "federation":
        return NAN
    return (number(result, "bytes_up") + number(result, "bytes_down")) / 1e6


def _at(
    key: str, title: str, better: Better, meaning: str, *path: str, form: str = ".3f"
) -> Column:
    """A column that stands at a path of the description itself."""
    return Column(key, title, form, better, meaning, lambda _, test, __: number(test, *path))


def _of_group(group: str, metric: str, short: str, long: str) -> Column:
    meaning = f"mean {long} over {group} labels with enough positives"
    path = ("by_group", group, metric, "mean")
    return _at(f"{group}_{short.lower()}", f"{group} {short}", "higher", meaning, *path)


MEASURED: tuple[Column, ...] = (
    _at(
        "auroc",
        "macro AUROC",
        "higher",
        "mean AUROC over labels with enough positives",
        *("macro", "auroc", "mean"),
    ),
    _at(
        "map",
        "mAP",
        "higher",
        "mean average precision over labels with enough positives",
        *("macro", "average_precision", "mean"),
    ),
    *(_of_group(g, "average_precision", "AP", "AP") for g in ("head", "medium", "tail")),
    *(_of_group(g, "auroc", "AUROC", "AUROC") for g in ("head", "medium", "tail")),
    Column(
        "rare_ap",
        "rare-label AP",
        ".3f",
        "higher",
        "mean AP of the labels that the study calls rare, however few their positives",
        lambda _, test, rare: rare_precision(test, rare),
    ),
    Column(
        "set_recall",
        "rare-set recall",
        ".3f",
        "higher",
        "of the exams with a whole followed combination, the share in which all of it is alerted",
        lambda _, test, __: recall_of_sets(test),
    ),
    _at(
        "false_coupling",
        "false coupling",
        "lower",
        "P(alert for l | m present, l absent); at 90 % specificity the ideal is 0.10",
        *("macro", "false_coupling", "mean"),
    ),
    _at(
        "decoupled_auroc",
        "decoupled AUROC",
        "higher",
        "macro AUROC on the same test exams, weighed as if findings were independent",
        *("decoupled", "macro", "auroc", "mean"),
    ),
    _at(
        "decoupled_map",
        "decoupled mAP",
        "higher",
        "mAP on the same test exams, weighed as if findings were independent",
        *("decoupled", "macro", "average_precision", "mean"),
    ),
    _at(
        "decoupled_coupling",
        "decoupled false coupling",
        "lower",
        "false coupling on the same test exams, weighed as if findings were independent",
        *("decoupled", "macro", "false_coupling", "mean"),
    ),
    _at(
        "phi_gap",
        "phi gap",
        "lower",
        "distance between the predicted and the true correlations of findings",
        *("phi", "gap"),
        form=".2f",
    ),
    Column(
        "missed",
        "missed / 1,000",
        ".0f",
        "lower",
        "findings without an alert per 1,000 exams, at a budget of alerts that all methods share",
        lambda _, test, __: missed_findings(test),
    ),
    _at(
        "missed_second",
        "missed 2nd",
        "lower",
        "of the other findings of an exam in which one is found, the share that is missed",
        *("macro", "missed_second_finding", "mean"),
    ),
    Column(
        "worst_hospital",
        "worst hospital",
        ".3f",
        "higher",
        "the lowest macro AUROC on its own test exams of a hospital that has one in every run",
        lambda _, test, __: worst_hospital(test),
    ),
    _at(
        "calibration_error",
        "ECE",
        "lower",
        "expected calibration error after calibration, mean over labels",
        *("macro", "calibration_error", "mean"),
    ),
    _at(
        "ece_before",
        "ECE before",
        "lower",
        "expected calibration error before calibration, mean over labels",
        *("uncalibrated", "macro", "calibration_error", "mean"),
    ),
    _at(
        "brier_before",
        "Brier before",
        "lower",
        "Brier score before calibration, mean over labels",
        *("uncalibrated", "macro", "brier", "mean"),
        form=".4f",
    ),
    Column(
        "megabytes",
        "MB sent",
        ".1f",
        "lower",
        "megabytes that all hospitals sent and received in the rounds",
        lambda result, _, __: megabytes(result),
    ),
    Column(
        "seconds",
        "seconds",
        ".0f",
        "lower",
        "time of the whole training and evaluation, on the machine of the run",
        lambda result, _, __: number(result, "seconds"),
    ),
)
ERASURE = Column(
    "erasure",
    "erasure",
    ".2f",
    "lower",
    "share of the pooled model's rare-set recall that is lost: 1 − recall / pooled recall",
    lambda *_: NAN,  # needs the pooled result of the same seed and fold: see ``measure``
)
COLUMNS: Mapping[str, Column] = {column.key: column for column in (*MEASURED, ERASURE)}
METRIC = "macro."  # before the name of a metric whose mean over labels is a column
SHORT = ("auroc", "map", "head_ap", "tail_ap", "rare_ap", "set_recall", "false_coupling", "missed")


def columns() -> dict[str, Column]:
    """Every column by key: the chosen ones, and the mean over labels of each metric there is.

    The latter have the key "macro.NAME"; a new file in the folder of metrics is a new column.
    """
    return {**COLUMNS, **{column.key: column for column in metric_columns()}}


def metric_columns() -> tuple[Column, ...]:
    """The mean over labels of every file of the folder of metrics, from what it declares."""
    names = components.names("metrics")
    return tuple(_of_metric(name, components.find("metrics", name)) for name in names)


@cache
def _of_metric(name: str, metric: type[Metric]) -> Column:
    _, high = metric.range
    return _at(
        METRIC + name,
        name.replace("_", " "),
        "higher" if metric.higher_is_better else "lower",
        f"{components.describe('metrics', name).summary} Mean over labels with enough positives",
        *("macro", name, "mean"),
        form=".1f" if 1 < high < math.inf else ".3f",
    )
