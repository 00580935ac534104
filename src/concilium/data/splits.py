"""Splits into train, validation and test in which every patient is whole, and the proof of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.patients import Patients, count_rows, numbered
from concilium.data.stratification import deal
from concilium.data.table import ExamTable
from concilium.foundation.checks import at_least, fraction, suggestion
from concilium.foundation.errors import DataError, InputError, Problem
from concilium.foundation.seeds import numpy_generator
from concilium.labels.states import State

PARTS = ("train", "validation", "test")

_NAMES_OF_PARTS: Mapping[str, int] = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}


@dataclass(frozen=True)
class Split:
    """The part of each image: ``part`` (N,) int8, an index into ``PARTS``."""

    part: npt.NDArray[np.int8]

    def rows(self, name: str) -> npt.NDArray[np.intp]:
        """Rows of a part ("train", "validation" or "test"), ascending."""
        return np.flatnonzero(self.part == PARTS.index(name))


@dataclass(frozen=True)
class Disjointness:
    """What a split shares between its parts, as it is saved beside it.

    ``images`` and ``patients`` by part; ``shared_patients`` by two parts ("train/test"), all 0 in a
    sound split; ``patients_sha256`` by part, over the sorted patient codes as little-endian int64.
    """

    images: Mapping[str, int]
    patients: Mapping[str, int]
    shared_patients: Mapping[str, int]
    patients_sha256: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Give the plain values that a JSON file holds."""
        return asdict(self)


def split_by_patient(table: ExamTable, fractions: tuple[float, float, float], seed: int) -> Split:
    """Split patients into train, validation and test, stratified over labels (``stratification``).

    ``fractions`` of the images, in the order of ``PARTS``, sum to 1; a fraction of 0 leaves a part
    empty. Raises InputError for other fractions, and DataError where there are too few patients.
    """
    fraction(**dict(zip(PARTS, fractions, strict=True)))
    if abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"the fractions {fractions} must sum to 1, not {sum(fractions):g}")
    patients = Patients.of(table)
    part = _stratified(table, patients, np.array(fractions), seed, "split")
    missing = [p for p, f in zip(range(3), fractions, strict=True) if f > 0 and p not in part]
    if missing:
        names = " and ".join(PARTS[p] for p in missing)
        what = f"{len(patients)} patients leave no patient for {names}"
        raise DataError(Problem("split", what, "set its fraction to 0, or bring more patients"))
    return Split(part.astype(np.int8))


def fold_by_patient(
    table: ExamTable, num_folds: int, fold: int, validation: float, seed: int
) -> Split:
    """Split for cross-validation: fold number ``fold`` (0 … num_folds − 1) is the test part.

    ``validation`` is the fraction of the OTHER folds' images that is kept for validation. With one
    seed, the test parts of all folds are disjoint and together are the table. Raises InputError for
    a fold that does not exist, and DataError for fewer patients than folds.
    """
    at_least(2, num_folds=num_folds)
    fraction(validation=validation)
    if not 0 <= fold < num_folds:
        raise InputError(f"fold={fold!r} must lie between 0 and {num_folds - 1}")
    of_fold = folds_by_patient(table, num_folds, seed)
    part = np.full(len(table), PARTS.index("test"), np.int8)
    rest = np.flatnonzero(of_fold != fold)
    others = ExamTable(table.schema, table.states[rest], table.patient[rest])
    shares = np.array([1 - validation, validation])
    name = f"validation of fold {fold}"
    part[rest] = _stratified(others, Patients.of(others), shares, seed, name)
    return Split(part)


def folds_by_patient(table: ExamTable, num_folds: int, seed: int) -> npt.NDArray[np.intp]:
    """The fold of each row (N,), 0 … num_folds − 1: all test parts of ``fold_by_patient`` at once.

    Raises DataError for fewer patients than folds.
    """
    at_least(2, num_folds=num_folds)
    patients = Patients.of(table)
    if len(patients) < num_folds:
        what = f"{len(patients)} patients cannot be split into {num_folds} folds"
        raise DataError(Problem("split", what, "ask for fewer folds"))
    return _stratified(table, patients, np.full(num_folds, 1 / num_folds), seed, "folds")


def split_by_column(table: ExamTable, column: str) -> Split:
    """Take the split that a covariate names: train, validation (val, valid, dev) or test.

    Raises DataError for a column that is not there, for other values (with their counts), and, as
    ``check_disjoint`` does, for a patient in two parts.
    """
    if column not in table.covariates:
        what = f"there is no column {column!r}"
        raise DataError(Problem("split", what, suggestion(column, table.covariates)))
    found, of_row = np.unique(table.covariates[column].astype(str), return_inverse=True)
    values, of_found = np.unique(np.char.lower(np.char.strip(found)), return_inverse=True)
    inverse = of_found[of_row]
    counts = np.bincount(inverse)
    problems = [
        Problem(
            f"column {column!r}",
            f"{number} rows say {value!r}",
            "a split is named train, validation or test",
        )
        for value, number in zip(values.tolist(), counts.tolist(), strict=True)
        if value not in _NAMES_OF_PARTS
    ]
    if problems:
        raise DataError(problems)
    part = np.array([_NAMES_OF_PARTS[value] for value in values.tolist()], np.int8)[inverse]
    split = Split(part)
    check_disjoint(split, table)
    return split


def disjointness(split: Split, table: ExamTable) -> Disjointness:
    """Count what the parts of a split share: the proof that is saved beside it."""
    code, of_row = numbered(table.patient)
    there = np.zeros((len(PARTS), len(code)), bool)
    there[split.part, of_row] = True
    images = np.bincount(split.part, minlength=len(PARTS))
    return Disjointness(
        images=dict(zip(PARTS, images.tolist(), strict=True)),
        patients=dict(zip(PARTS, there.sum(1).tolist(), strict=True)),
        shared_patients={
            f"{PARTS[a]}/{PARTS[b]}": int((there[a] & there[b]).sum())
            for a, b in combinations(range(len(PARTS)), 2)
        },
        patients_sha256={
            name: hashlib.sha256(code[there[p]].astype("<i8").tobytes()).hexdigest()
            for p, name in enumerate(PARTS)
        },
    )


def check_disjoint(split: Split, table: ExamTable) -> Disjointness:
    """Give the proof of disjointness, or raise DataError that says how many patients are shared."""
    proof = disjointness(split, table)
    problems = [
        Problem(
            "split",
            f"{number} {'patient has' if number == 1 else 'patients have'} images in both "
            f"{' and '.join(pair.split('/'))}",
            "split by patient instead of using this column",
        )
        for pair, number in proof.shared_patients.items()
        if number
    ]
    if problems:
        raise DataError(problems)
    return proof


def _stratified(
    table: ExamTable, patients: Patients, shares: npt.NDArray[np.float64], seed: int, name: str
) -> npt.NDArray[np.intp]:
    """Deal the patients of a table out by shares (K,) of every stratum: the part of each row."""
    counts = strata(table, patients)
    wanted = np.outer(shares, counts.sum(0))
    return deal(counts, wanted, numpy_generator(seed, name))[patients.of_row]


def strata(table: ExamTable, patients: Patients) -> npt.NDArray[np.int64]:
    """What a split balances, by patient (P, C): images with each label present, images with it
    absent where it is not known of every image, and images.

    Columns stand in the order of the labels' names, so that permuting labels changes no split.
    """
    by_name = sorted(range(len(table.schema)), key=lambda label: table.schema.names[label])
    positives = np.take(patients.positives, by_name, axis=1)
    not_known = table.states < State.ABSENT
    if not not_known.any():
        return np.column_stack([positives, patients.images])
    partly_known = [label for label in by_name if not_known[:, label].any()]
    absent = np.take(table.states, partly_known, axis=1) == State.ABSENT
    absences = count_rows(patients.of_row, absent, len(patients))
    return np.column_stack([positives, absences, patients.images])
