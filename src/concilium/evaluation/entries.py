"""What is evaluated, checked at the border: scores, targets, known, patients; all problems."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from concilium.evaluation.alerts import LabelSets, canonical
from concilium.evaluation.histograms import Bools, Floats
from concilium.foundation.errors import InputError, Problem

Patients = npt.NDArray[np.int64]


def checked_entries(
    scores: npt.ArrayLike, target: npt.ArrayLike, known: npt.ArrayLike, patient: npt.ArrayLike
) -> tuple[Floats, Floats, Bools, Patients]:
    """Scores, target and known (N, L), patient (N,), with 0 for the target where it is unknown.

    Raises InputError with all problems: shapes, scores not finite, known targets outside [0, 1].
    """
    own_scores, own_target = np.asarray(scores, np.float64), _target(target)
    own_known, own_patient = np.asarray(known, np.bool_), np.asarray(patient, np.int64)
    shape = own_scores.shape
    named = {"target": own_target.shape, "known": own_known.shape}
    problems = [
        Problem(name, f"shape {own} is not that of the scores, {shape}")
        for name, own in named.items()
        if own != shape
    ]
    if len(shape) != 2:
        problems.append(Problem("scores", f"shape {shape} is not (exams, labels)"))
    if own_patient.shape != shape[:1]:
        problems.append(Problem("patient", f"shape {own_patient.shape} is not ({shape[0]},)"))
    if problems:
        raise InputError(problems)
    own_target = np.where(own_known, own_target, 0.0)
    _check_values(own_scores, own_target)
    return own_scores, own_target, own_known, own_patient


def checked_thresholds(thresholds: npt.ArrayLike | None, num_labels: int) -> Floats:
    """Thresholds (L,); all NaN for None. Raises InputError for another shape."""
    if thresholds is None:
        return np.full(num_labels, np.nan)
    limits = np.array(thresholds, np.float64)
    if limits.shape != (num_labels,):
        raise InputError(Problem("thresholds", f"shape {limits.shape} is not ({num_labels},)"))
    return limits


def checked_label_sets(label_sets: LabelSets, num_labels: int) -> LabelSets:
    """The label sets, each ascending. Raises InputError for empty sets and unknown labels."""
    problems = [
        Problem(f"label set {i}", f"{labels} is empty or names a label outside 0..{num_labels - 1}")
        for i, labels in enumerate(label_sets)
        if not labels or not all(0 <= label < num_labels for label in labels)
    ]
    if problems:
        raise InputError(problems)
    return canonical(label_sets)


def _target(target: npt.ArrayLike) -> Floats:
    """In float32 first, as label statistics count it: the two must agree on what is present."""
    return np.asarray(target, np.float32).astype(np.float64)


def _check_values(scores: Floats, target: Floats) -> None:
    remedy = "the model has diverged, or the scores are not logits: lower the learning rate"
    problems = [
        Problem(f"scores of label {label}", f"{count} of {len(scores)} are not finite", remedy)
        for label, count in enumerate((~np.isfinite(scores)).sum(0))
        if count
    ]
    outside = (~((target >= 0) & (target <= 1))).sum(0)
    problems += [
        Problem(f"target of label {label}", f"{count} known values lie outside [0, 1]")
        for label, count in enumerate(outside)
        if count
    ]
    if problems:
        raise InputError(problems)
