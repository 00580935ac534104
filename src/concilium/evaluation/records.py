"""Evaluation sums as flat named arrays, to save them (npz, JSON) and to send them.

Names are field names with a dot ("alerts.both_found"). Label sets travel as a table (S, L) of 0
and 1. What arrives is checked against the table of types and shapes before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import InputError, Problem

Arrays = dict[str, npt.NDArray[Any]]
LABEL_SETS = "alerts.label_sets"


class _Kind(NamedTuple):
    shape: str  # one letter an axis: L labels, B bins, S label sets
    dtype: type


_KINDS = {
    "statistics.num_images": _Kind("", np.int64),
    "statistics.num_patients": _Kind("", np.int64),
    "statistics.both_known": _Kind("LL", np.int64),
    "statistics.both_present": _Kind("LL", np.int64),
    "statistics.present_and_known": _Kind("LL", np.int64),
    "positives": _Kind("LB", np.int64),
    "negatives": _Kind("LB", np.int64),
    "probability": _Kind("LB", np.float64),
    "squared_error": _Kind("L", np.float64),
    "log_loss": _Kind("L", np.float64),
    "predicted_and_known": _Kind("LL", np.float64),
    "predicted_pairs": _Kind("LL", np.float64),
    "alerts.thresholds": _Kind("L", np.float64),
    "alerts.false_alerts": _Kind("L", np.int64),
    "alerts.false_alerts_beside": _Kind("LL", np.int64),
    "alerts.found_beside": _Kind("LL", np.int64),
    "alerts.both_found": _Kind("LL", np.int64),
    LABEL_SETS: _Kind("SL", np.int64),
    "alerts.set_present": _Kind("S", np.int64),
    "alerts.set_found": _Kind("S", np.int64),
    "alerts.exams_with_finding": _Kind("", np.int64),
    "alerts.exams_with_miss": _Kind("", np.int64),
    "alerts.exams_with_alert": _Kind("", np.int64),
}


def evaluation_arrays(sums: object) -> Arrays:
    """Every field of evaluation sums under its dotted name, as a copy."""
    arrays: Arrays = {}
    for name, kind in _KINDS.items():
        value: Any = sums
        for part in name.split("."):
            value = getattr(value, part)
        if name == LABEL_SETS:
            value = _membership(value, len(arrays["positives"]))
        arrays[name] = np.array(value, kind.dtype)
    return arrays


def evaluation_fields(
    arrays: Mapping[str, npt.ArrayLike], num_bins: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The fields of the sums themselves, of their statistics and of their alerts.

    Raises InputError with every name that is missing or unknown and every shape that does not fit.
    """
    _check_names(arrays)
    found: Arrays = {name: np.array(arrays[name], kind.dtype) for name, kind in _KINDS.items()}
    _check_shapes(found, num_bins)
    groups: dict[str, dict[str, Any]] = {"": {}, "statistics": {}, "alerts": {}}
    for name, array in found.items():
        group, _, own = name.rpartition(".")
        groups[group][own] = array if _KINDS[name].shape else int(array)
    sets = groups["alerts"]["label_sets"]
    groups["alerts"]["label_sets"] = tuple(tuple(np.flatnonzero(row).tolist()) for row in sets)
    return groups[""], groups["statistics"], groups["alerts"]


def _membership(label_sets: tuple[tuple[int, ...], ...], num_labels: int) -> npt.NDArray[np.int64]:
    table = np.zeros((len(label_sets), num_labels), np.int64)
    for row, labels in enumerate(label_sets):
        table[row, list(labels)] = 1
    return table


def _check_names(arrays: Mapping[str, npt.ArrayLike]) -> None:
    problems = [Problem(name, "is missing") for name in _KINDS if name not in arrays]
    problems += [
        Problem(name, "is not a field of evaluation sums", suggestion(name, _KINDS))
        for name in arrays
        if name not in _KINDS
    ]
    if problems:
        raise InputError(problems)


def _check_shapes(arrays: Arrays, num_bins: int) -> None:
    sizes = {"B": num_bins, "L": arrays["log_loss"].size, "S": arrays["alerts.set_found"].size}
    expected = {name: tuple(sizes[axis] for axis in kind.shape) for name, kind in _KINDS.items()}
    problems = [
        Problem(name, f"shape {arrays[name].shape} is not {shape}")
        for name, shape in expected.items()
        if arrays[name].shape != shape
    ]
    if problems:
        raise InputError(problems)
