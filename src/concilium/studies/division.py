"""Who holds what, and which part of it is for training: made once a seed, and saved."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset
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
from concilium.foundation import components
from concilium.foundation.errors import DataError, Problem
from concilium.foundation.files import write_atomically, write_json
from concilium.foundation.seeds import derive_seed
from concilium.partitioners.contract import Partition
from concilium.studies.configuration import Study


@dataclass(frozen=True)
class Division:
    """A split (which part) and a partition (which hospital) of one table, for one seed and fold."""

    seed: int
    split: Split
    partition: Partition
    proof: Disjointness
    parts: tuple[str, ...] = PARTS

    def rows(self, client: int, part: str) -> npt.NDArray[np.intp]:
        """Row numbers of one hospital and part, ascending."""
        mine = (self.partition.client == client) & (self.split.part == PARTS.index(part))
        return np.flatnonzero(mine)

    def rows_of_all(self) -> list[dict[str, npt.NDArray[np.intp]]]:
        """Row numbers of every hospital by part, as ``rows`` gives them, in one pass."""
        number = len(PARTS)
        group = self.partition.client * number + self.split.part
        each = rows_of_each(group, len(self.partition.clients) * number)
        return [
            dict(zip(PARTS, each[start : start + number], strict=True))
            for start in range(0, len(each), number)
        ]


def divide(dataset: Dataset, study: Study, seed: int, fold: int = 0) -> Division:
    """The division of a study for a seed and a fold; patients are whole in both ways.

    Raises DataError where a patient stands in two parts, or a hospital has nothing to train on.
    """
    own, table = study.split, dataset.table
    if own.column:
        split = split_by_column(table, own.column)
    elif own.folds > 1:
        fraction = own.fractions[1]
        split = fold_by_patient(table, own.folds, fold, fraction, derive_seed(seed, "split"))
    else:
        split = split_by_patient(table, own.fractions, derive_seed(seed, "split"))
    proof = check_disjoint(split, table)
    partitioner = components.build("partitioners", own.partitioner.name, own.partitioner.settings)
    partition = partitioner(table, own.hospitals, derive_seed(seed, "partition"))
    division = Division(seed, split, partition, proof)
    _check_hospitals(division)
    return division


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
    np.savez_compressed(
        buffer,
        part=division.split.part,
        client=division.partition.client,
        annotated=division.partition.annotated,
        clients=np.array(division.partition.clients),
    )
    write_atomically(folder / "split.npz", buffer.getvalue())
    write_json(folder / "disjointness.json", division.proof.to_json())
    write_json(folder / "shifts.json", shifts_of(dataset, division))


def shifts_of(dataset: Dataset, division: Division) -> object:
    """What shifted between hospitals: prevalence, coupling, quantity, annotation, acquisition."""
    return describe_shifts(dataset.table, division.partition).to_json()
