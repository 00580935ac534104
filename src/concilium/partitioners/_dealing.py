"""What the partitioners have in common: shares, names, empty hospitals, the base they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.patients import Patients
from concilium.data.rows import rows_of_each
from concilium.data.table import ExamTable
from concilium.foundation import components
from concilium.foundation.checks import at_least
from concilium.foundation.errors import ComponentError, DataError, Problem
from concilium.partitioners.contract import Partition, Partitioner

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

Base = str | Mapping[str, Any]
"""Another partitioner, by its name or as {name = …, and its settings}."""


def build_base(of: Base) -> Partitioner:
    """Build the partitioner that another one changes. Raises ComponentError where it cannot be."""
    settings = {"name": of} if isinstance(of, str) else dict(of)
    if "name" not in settings:
        what = "'of' does not say which partitioner to change"
        raise ComponentError(Problem("partitioners", what, "write of = {name = 'iid'}"))
    name = settings.pop("name")
    base: Partitioner = components.build("partitioners", name, settings)
    return base


def patients_for(table: ExamTable, num_clients: int) -> Patients:
    """Group the table by patient. Raises DataError where hospitals outnumber patients."""
    at_least(1, num_clients=num_clients)
    patients = Patients.of(table)
    if num_clients > len(patients):
        what = f"num_clients={num_clients} is more than the {len(patients)} patients of the table"
        raise DataError(Problem("split", what, "patients stay whole: ask for fewer hospitals"))
    return patients


def hospital_names(number: int) -> tuple[str, ...]:
    """Names "hospital-1" … of so many hospitals."""
    return tuple(f"hospital-{k + 1}" for k in range(number))


def cut(images: npt.NDArray[np.int64], shares: Floats) -> Indices:
    """Cut patients, in their order, into stretches with these shares (K,) of the images (P,).

    A patient goes where the middle of their images falls; the hospital of each (P,) comes back.
    """
    middle = np.cumsum(images) - images / 2
    borders = np.cumsum(shares / shares.sum())[:-1] * images.sum()
    return np.searchsorted(borders, middle, side="right")


def refill(
    hospital: Indices,
    images: npt.NDArray[np.int64],
    num_clients: int,
    min_images: int,
    generator: np.random.Generator,
) -> Indices:
    """Move patients until every hospital has ``min_images`` images.

    Each one comes, at random, from the hospital that is then the largest and has another patient;
    nobody is moved twice. Raises DataError where the images do not suffice.
    """
    hospital = hospital.copy()
    movable = [own.tolist() for own in rows_of_each(hospital, num_clients)]
    left = np.bincount(hospital, minlength=num_clients)  # of those who are movable
    patients = left.copy()
    sizes = np.bincount(hospital, images, num_clients)
    while sizes.min() < min_images:
        possible = (patients > 1) & (left > 0)
        largest = int(np.where(possible, sizes, -1).argmax())
        if not possible.any() or sizes[largest] <= min_images:
            what = f"{images.sum()} images do not give {num_clients} hospitals {min_images} each"
            raise DataError(Problem("split", what, "lower min_images or the number of hospitals"))
        moved = movable[largest].pop(generator.choice(left[largest]))
        left[largest] -= 1
        patients[largest] -= 1
        sizes[largest] -= images[moved]
        hospital[moved] = smallest = int(sizes.argmin())
        patients[smallest] += 1
        sizes[smallest] += images[moved]
    return hospital


def partition_of(
    table: ExamTable, patients: Patients, hospital: Indices, names: tuple[str, ...]
) -> Partition:
    """Make the partition in which each patient (P,) is at one hospital that annotates all labels.

    Raises DataError that names the hospitals without any patient.
    """
    sizes = np.bincount(hospital, minlength=len(names))
    problems = [
        Problem(
            name,
            "no patient was dealt to it",
            "ask for fewer hospitals, a milder skew, or min_images of at least 1",
        )
        for name, size in zip(names, sizes.tolist(), strict=True)
        if size == 0
    ]
    if problems:
        raise DataError(problems)
    annotated = np.ones((len(names), len(table.schema)), bool)
    return Partition(names, hospital[patients.of_row].astype(np.int64), annotated)
