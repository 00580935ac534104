"""Who holds what, and which part of it is for training: made once a seed, and saved."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset
from concilium.data.held_out import HeldOut, hold_out, say_held_out
from concilium.data.labelled import labelled_rows
from concilium.data.rows import rows_of_each
from concilium.data.shifts import describe_shifts
from concilium.data.splits import (
    PARTS,
    Disjointness,
    Split,
    check_disjoint,
    fold_by_patient,
    split_by_column,
    split_by_patient,
)
from concilium.data.table import ExamTable
from concilium.foundation import components
from concilium.foundation.errors import DataError, Problem
from concilium.foundation.files import write_atomically, write_json
from concilium.foundation.seeds import derive_seed
from concilium.labels.uncertainty import resolve
from concilium.partitioners.contract import Partition
from concilium.studies.assembly import policy_of
from concilium.studies.configuration import Study


@dataclass(frozen=True)
class Division:
    """A split (which part) and a partition (which hospital) of one table, for one seed and fold.

    ``held_out`` are the label sets that only the test part has. ``labelled`` (N,) says which exams
    have labels, None: all of them; the others are in no part, also not in the ``proof``.
    """

    seed: int
    split: Split
    partition: Partition
    proof: Disjointness
    parts: tuple[str, ...] = PARTS
    held_out: tuple[HeldOut, ...] = ()
    labelled: npt.NDArray[np.bool_] | None = None

    def rows(self, client: int, part: str) -> npt.NDArray[np.intp]:
        """Row numbers of one hospital and part, ascending."""
        mine = (self.partition.client == client) & (self.split.part == PARTS.index(part))
        return np.flatnonzero(mine if self.labelled is None else mine & self.labelled)

    def rows_of_all(self) -> list[dict[str, npt.NDArray[np.intp]]]:
        """Row numbers of every hospital by part, as ``rows`` gives them, in one pass."""
        number = len(PARTS)
        group = self.partition.client * number + self.split.part
        if self.labelled is not None:
            group = np.where(self.labelled, group, len(self.partition.clients) * number)
        each = rows_of_each(group, len(self.partition.clients) * number + 1)[:-1]
        return [
            dict(zip(PARTS, each[start : start + number], strict=True))
            for start in range(0, len(each), number)
        ]

    @property
    def statement(self) -> dict[str, Any]:
        """What was held out, and how many images have labels by part, where the study asks for it.

        In the form that a JSON file holds; empty where it asks for neither.
        """
        found: dict[str, Any] = {}
        if self.held_out:
            found["held_out"] = [own.to_json() for own in self.held_out]
        if self.labelled is not None:
            every = np.bincount(self.split.part, minlength=len(PARTS)).tolist()
            kept = np.bincount(self.split.part[self.labelled], minlength=len(PARTS)).tolist()
            found["labelled"] = {
                part: {"images": own, "of": of}
                for part, own, of in zip(PARTS, kept, every, strict=True)
            }
        return found


def divide(dataset: Dataset, study: Study, seed: int, fold: int = 0) -> Division:
    """The division of a study for a seed and a fold; patients are whole in both ways.

    Raises DataError where a patient stands in two parts, a hospital has nothing to train on, or a
    label set cannot be held out.
    """
    own, table = study.split, dataset.table
    split, held_out = _split(table, study, seed, fold)
    proof = check_disjoint(split, table)
    partitioner = components.build("partitioners", own.partitioner.name, own.partitioner.settings)
    partition = partitioner(table, own.hospitals, derive_seed(seed, "partition"))
    division = Division(seed, split, partition, proof, held_out=held_out)
    _check_hospitals(division)
    return division if own.labelled == 1 else _thinned(division, table, own.labelled)


def _split(
    table: ExamTable, study: Study, seed: int, fold: int
) -> tuple[Split, tuple[HeldOut, ...]]:
    """The part of each row, and what only the test part has."""
    own = study.split
    if own.column:
        return split_by_column(table, own.column), ()
    if own.folds > 1:
        fraction = own.fractions[1]
        split = fold_by_patient(table, own.folds, fold, fraction, derive_seed(seed, "split"))
        return split, ()
    split = split_by_patient(table, own.fractions, derive_seed(seed, "split"))
    if not own.held_out:
        return split, ()
    target, known = resolve(table.states, policy_of(study))
    sets = tuple(table.schema.indices(names) for names in own.held_out)
    return hold_out(split, table, (target > 0.5) & known, sets)


def _thinned(division: Division, table: ExamTable, share: float) -> Division:
    """The division in which only a share of each hospital's patients have labels, test apart."""
    labelled = np.ones(len(table), np.bool_)
    for name, own in zip(division.partition.clients, division.rows_of_all(), strict=True):
        for part in ("train", "validation"):
            rows = own[part]
            mine = ExamTable(table.schema, table.states[rows], table.patient[rows])
            seed = derive_seed(division.seed, "labelled", name, part)
            labelled[rows] = labelled_rows(mine, share, seed)
    kept = np.flatnonzero(labelled)
    proof = check_disjoint(
        Split(division.split.part[kept]),
        ExamTable(table.schema, table.states[kept], table.patient[kept]),
    )
    return replace(division, proof=proof, labelled=labelled)


def _check_hospitals(division: Division) -> None:
    """Raise DataError that names every hospital without an image in the training part."""
    clients = division.partition.clients
    training = division.partition.client[division.split.part == PARTS.index("train")]
    images = np.bincount(training, minlength=len(clients))
    problems = [
        Problem(
            f"seed {division.seed}, {name}",
            "has no training image",
            "ask for fewer hospitals, a milder skew, or a larger training part",
        )
        for name, number in zip(clients, images.tolist(), strict=True)
        if number == 0
    ]
    if problems:
        raise DataError(problems)


def save_division(folder: Path, dataset: Dataset, division: Division) -> None:
    """Write the split, the proof that patients are disjoint, and what shifted between hospitals."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "part": division.split.part,
        "client": division.partition.client,
        "annotated": division.partition.annotated,
        "clients": np.array(division.partition.clients),
    }
    if division.labelled is not None:
        arrays["labelled"] = division.labelled
    np.savez_compressed(buffer, **arrays)
    write_atomically(folder / "split.npz", buffer.getvalue())
    write_json(folder / "disjointness.json", division.proof.to_json())
    write_json(folder / "shifts.json", shifts_of(dataset, division))


def shifts_of(dataset: Dataset, division: Division) -> dict[str, Any]:
    """What shifted between hospitals: prevalence, coupling, quantity, annotation, acquisition.

    With the statement of what was held out and how much is labelled.
    """
    return describe_shifts(dataset.table, division.partition).to_json() | division.statement


def said_of_split(statement: Mapping[str, Any]) -> list[str]:
    """What a division's statement (or all that is saved with it) says, in lines; often none.

    >>> said_of_split({"labelled": {"train": {"images": 12, "of": 120}}})
    ['Labelled: 12 of 120 images of train.']
    """
    lines = [f"Held out: {say_held_out(own)}." for own in statement.get("held_out", ())]
    thinned = [
        f"{own['images']:,} of {own['of']:,} images of {part}"
        for part, own in statement.get("labelled", {}).items()
        if part != "test"
    ]
    return [*lines, f"Labelled: {', '.join(thinned)}."] if thinned else lines
