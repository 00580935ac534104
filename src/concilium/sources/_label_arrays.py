"""From arrays of an archive to label states, patients and covariates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import NO_PATIENTS, PATIENTS
from concilium.data.table import ExamTable, patient_codes
from concilium.foundation.checks import suggestion
from concilium.foundation.errors import DataError, Problem
from concilium.labels.schema import LabelSchema, fold
from concilium.labels.states import State
from concilium.labels.vocabularies import is_no_finding
from concilium.sources._conventions import PATIENT_NAMES
from concilium.sources._covariates import Column, covariate_of_array, unknown_column
from concilium.sources._label_names import label_names
from concilium.sources._npz import Archive

Array = npt.NDArray[Any]
States = npt.NDArray[np.int8]

COVARIATES = ("age", "sex", "view", "hospital")
"""What is taken from an archive by default. Not ``split``, ``folder``, ``image``: a file's own
division may share patients between its parts, and names of images tell who the patient is."""


@dataclass(frozen=True)
class Rows:
    """What one archive says of its N rows, before anything is put together."""

    archive: Archive
    names: tuple[str, ...]
    states: States
    patients: Sequence[str] | None
    covariates: Mapping[str, Column]
    notes: Mapping[str, str]


def rows_of(archive: Archive, names: Sequence[str], covariates: Sequence[str]) -> Rows:
    """Read labels, patients and covariates. ``names`` where the file has no ``label_names``."""
    states, count = label_states(archive, "labels"), archive.shape("labels")[0]
    found, notes = {}, {}
    for name in covariates:
        if name in archive.names:
            found[name], said = covariate_of_array(name, _column(archive, name, count))
            notes.update(said)
    return Rows(
        archive,
        _names(archive, names, states.shape[1]),
        states,
        _patients(archive, count),
        found,
        notes,
    )


def label_states(archive: Archive, name: str) -> States:
    """States (N, L) from numbers: 1 present, 0 absent, −1 uncertain, −2 or NaN unknown.

    An array ``known`` beside them (N, L), where there is one, makes what it denies unknown.

    Raises DataError with every row that holds something else.
    """
    values = archive.array(name)
    if values.dtype.kind not in "iufb":
        raise DataError(Problem(f"{archive.name}, array {name!r}", f"has type {values.dtype}"))
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), float(State.UNKNOWN), values)
    wrong = ~np.isin(values, [int(state) for state in State])
    remedy = "1 is present, 0 absent, -1 uncertain, -2 or NaN unknown"
    problems = []
    for row in np.flatnonzero(wrong.any(axis=1)).tolist():
        column = int(wrong[row].argmax())
        what = f"label {column} is {values[row, column]:g}"
        problems.append(Problem(archive.where(row), what, remedy))
    if problems:
        raise DataError(problems)
    return _only_known(archive, values.astype(np.int8))


def _only_known(archive: Archive, states: States) -> States:
    """The states, unknown where an array ``known`` (N, L) of the archive says so."""
    if "known" not in archive.names:
        return states
    known = archive.array("known")
    if known.shape != states.shape or known.dtype.kind not in "biu":
        what = f"has shape {known.shape} and type {known.dtype}, the labels are {states.shape}"
        raise DataError(Problem(f"{archive.name}, array 'known'", what, "0 or 1 for each label"))
    return np.where(known.astype(np.bool_), states, np.int8(State.UNKNOWN))


def table_of(
    parts: Sequence[Rows], vocabulary: str, labels: Sequence[str]
) -> tuple[ExamTable, dict[str, str]]:
    """One table of all rows of all archives, in order, and notes for the report.

    Labels are those of ``labels``, else of the ``vocabulary``, else all that occur, in order of
    appearance; one that an archive does not have is unknown there. Patients of the same identifier
    are the same patient, whatever the file; without identifiers every row is a patient of its own.
    """
    schema = _schema(parts, vocabulary, labels)
    states = np.concatenate([_aligned(part, schema) for part in parts])
    identifiers = [
        patient
        for i, part in enumerate(parts)
        for patient in part.patients or [f"file {i} row {row}" for row in range(len(part.states))]
    ]
    names = dict.fromkeys(name for part in parts for name in part.covariates)
    columns = {name: _joined(parts, name) for name in names}
    notes = {key: text for part in parts for key, text in part.notes.items()}
    silent = [part.archive.name for part in parts if part.patients is None]
    if silent:
        notes[PATIENTS] = f"{NO_PATIENTS} ({', '.join(silent)}: no array 'patient')"
    return ExamTable(schema, states, patient_codes(identifiers), columns), notes


def _schema(parts: Sequence[Rows], vocabulary: str, labels: Sequence[str]) -> LabelSchema:
    """The labels wanted. Raises DataError for names outside the vocabulary, labels in no file."""
    found = {fold(name): name for part in reversed(parts) for name in reversed(part.names)}
    wanted = label_names(vocabulary, labels, {})
    if wanted is None:
        names = dict.fromkeys(found[fold(name)] for part in parts for name in part.names)
        return LabelSchema(tuple(names))
    problems = [
        Problem(part.archive.name, f"unknown label {name!r}", wanted.suggestion(name))
        for part in parts
        for name in part.names
        if vocabulary and not wanted.is_known(name)
    ]
    there = {wanted.schema.find(name) for name in found.values()}
    problems += [
        Problem("labels", f"no file has the label {name!r}", suggestion(name, found.values()))
        for label, name in enumerate(wanted.schema.names)
        if labels and label not in there
    ]
    if problems:
        raise DataError(problems)
    return wanted.schema


def _aligned(part: Rows, schema: LabelSchema) -> States:
    """The states of an archive in the columns of the schema."""
    states = np.full((len(part.states), len(schema)), State.UNKNOWN, np.int8)
    column_of: dict[int, int] = {}
    for column, name in enumerate(part.names):
        label = schema.find(name)
        if label is None:
            continue
        if label in column_of:
            what = f"{part.names[column_of[label]]!r} and {name!r} are the same label"
            raise DataError(Problem(part.archive.name, what, "remove one"))
        column_of[label] = column
        states[:, label] = part.states[:, column]
    if not column_of:
        what = f"none of the labels wanted is among {', '.join(part.names)}"
        raise DataError(Problem(part.archive.name, what, suggestion(schema.names[0], part.names)))
    return states


def _joined(parts: Sequence[Rows], name: str) -> Column:
    like = next(part.covariates[name] for part in parts if name in part.covariates)
    columns = [part.covariates.get(name, unknown_column(like, len(part.states))) for part in parts]
    if len({column.dtype.kind for column in columns}) > 1:
        what = f"{name!r} is a number in one file and text in another"
        raise DataError(Problem(parts[0].archive.name, what, "give it one type"))
    return np.concatenate(columns)


def _names(archive: Archive, given: Sequence[str], count: int) -> tuple[str, ...]:
    if "label_names" in archive.names:
        given = [str(name) for name in archive.array("label_names").tolist()]
    if not given:
        raise DataError(
            Problem(
                archive.name,
                "does not name its labels",
                "add an array 'label_names', or set `labels`",
            )
        )
    if len(given) != count:
        what = f"'labels' has {count} columns, but there are {len(given)} label names"
        raise DataError(Problem(archive.name, what, "give one name a column"))
    statements = [name for name in given if is_no_finding(name)]
    if statements:
        what = f"{statements[0]!r} is a statement about all labels, not a label"
        raise DataError(Problem(archive.name, what, "remove its column"))
    return tuple(given)


def _patients(archive: Archive, count: int) -> list[str] | None:
    folded = {fold(array): array for array in archive.names}
    name = next((folded[usual] for usual in PATIENT_NAMES if usual in folded), None)
    if name is None:
        return None
    patients = _texts(_column(archive, name, count))
    problems = [
        Problem(archive.where(row), "has no patient", "fill it in, so that patients stay whole")
        for row, patient in enumerate(patients)
        if patient in {"", "nan"}
    ]
    if problems:
        raise DataError(problems)
    return patients


def _texts(values: Array) -> list[str]:
    """Identifiers as text, so that 17, 17.0 and "17" are the same."""
    if values.dtype.kind == "S":
        values = values.astype(np.str_)
    whole = values.dtype.kind == "f"
    return [
        f"{value:.0f}" if whole and not math.isnan(value) else str(value).strip()
        for value in values.tolist()
    ]


def _column(archive: Archive, name: str, count: int) -> Array:
    values = archive.array(name)
    if values.shape != (count,):
        what = f"has shape {values.shape}, expected ({count},)"
        raise DataError(Problem(f"{archive.name}, array {name!r}", what))
    return values
