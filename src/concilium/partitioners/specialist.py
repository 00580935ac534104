"""Specialists: one hospital holds (nearly) all patients with a rare finding or a rare combination.

Everybody else, and every other patient of the specialist's hospital, is dealt out by ``of``; so the
specialist keeps realistic negatives, and only the rare finding is concentrated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from concilium.data.patients import Patients
from concilium.data.table import ExamTable
from concilium.foundation.checks import fraction, suggestion
from concilium.foundation.errors import DataError, InputError, Problem
from concilium.foundation.seeds import numpy_generator
from concilium.labels.states import State
from concilium.partitioners._dealing import Base, build_base
from concilium.partitioners.contract import Partition, Partitioner

_WHERE = "partitioners.specialist"


@dataclass(frozen=True)
class Concentration:
    """One rare finding and the hospital that holds it.

    ``labels``: one label, or several that are present on the same image; ``hospital``: its number
    (1 to K) or its name; ``concentration`` λ in [0, 1]: the fraction of the patients with these
    labels who are brought there, 1 is all, 0 leaves them where ``of`` puts them; ``share`` in
    (0, 1): where given, the hospital is first made that small (a fraction of all images) by moving
    randomly chosen patients to the others; it never grows by it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    labels: tuple[str, ...]
    hospital: int | str
    concentration: float = 1.0
    share: float | None = None

    def __post_init__(self) -> None:
        fraction(concentration=self.concentration)
        if self.share is not None:
            fraction(share=self.share)
        if not self.labels:
            raise InputError(Problem(f"{_WHERE}.specialists", "'labels' is empty", "name a label"))


@dataclass(frozen=True)
class Specialist(Partitioner):
    """The partition of ``of``, with the patients of each rare finding brought to one hospital.

    A patient whom two specialists claim belongs to the one that is named first. Raises LabelError
    for an unknown label, DataError for labels that no image has (together), an unknown hospital,
    and a hospital that loses its last patient.
    """

    specialists: tuple[Concentration, ...]
    of: Base = "iid"

    def __post_init__(self) -> None:
        if not self.specialists:
            raise InputError(Problem(f"{_WHERE}.specialists", "there are none", "name one"))

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        base = build_base(self.of)(table, num_clients, seed)
        patients = Patients.of(table)
        hospital = np.empty(len(patients), np.int64)
        hospital[patients.of_row] = base.client
        homes, carriers = self._places(table, patients, base.clients)
        for own, home in zip(self.specialists, homes, strict=True):
            if own.share is not None:
                generator = numpy_generator(seed, _WHERE, "share", *own.labels)
                hospital = _shrink(hospital, patients.images, home, own.share, generator)
        settled = np.zeros(len(patients), bool)
        for own, home, carrier in zip(self.specialists, homes, carriers, strict=True):
            generator = numpy_generator(seed, _WHERE, *own.labels)
            members = generator.permutation(np.flatnonzero(carrier & ~settled))
            hospital[members[: round(own.concentration * len(members))]] = home
            settled |= carrier
        return _rebuilt(base, hospital, patients)

    def _places(
        self, table: ExamTable, patients: Patients, clients: tuple[str, ...]
    ) -> tuple[list[int], list[npt.NDArray[np.bool_]]]:
        """The hospital of each specialist, and who has its labels (P,)."""
        homes, carriers, problems = [], [], []
        for own in self.specialists:
            columns = list(table.schema.indices(own.labels))
            rows = (table.states[:, columns] == State.PRESENT).all(1)
            carriers.append(np.bincount(patients.of_row[rows], minlength=len(patients)) > 0)
            homes.append(_hospital(own.hospital, clients))
            if not rows.any():
                what = f"no image has {' and '.join(map(repr, own.labels))}"
                problems.append(Problem(_WHERE, what, "choose labels that the data have"))
            if homes[-1] < 0:
                remedy = suggestion(str(own.hospital), clients)
                problems.append(Problem(_WHERE, f"there is no hospital {own.hospital!r}", remedy))
        if problems:
            raise DataError(problems)
        return homes, carriers


def _hospital(wanted: int | str, clients: tuple[str, ...]) -> int:
    """Index of a hospital by its number from 1 or by its name; −1 where there is none."""
    if isinstance(wanted, str):
        return clients.index(wanted) if wanted in clients else -1
    return wanted - 1 if 1 <= wanted <= len(clients) else -1


def _shrink(
    hospital: npt.NDArray[np.int64],
    images: npt.NDArray[np.int64],
    home: int,
    share: float,
    generator: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Move random patients of a hospital to the others, as these are in size, down to a share."""
    hospital = hospital.copy()
    sizes = np.bincount(hospital, images)
    members = generator.permutation(np.flatnonzero(hospital == home))
    leaving = members[np.cumsum(images[members]) > share * images.sum()]
    others = np.where(np.arange(len(sizes)) == home, 0.0, sizes)
    if len(leaving) and others.sum() > 0:
        hospital[leaving] = generator.choice(len(sizes), len(leaving), p=others / others.sum())
    return hospital


def _rebuilt(base: Partition, hospital: npt.NDArray[np.int64], patients: Patients) -> Partition:
    sizes = np.bincount(hospital, minlength=len(base.clients)).tolist()
    remedy = "its patients all went to specialists: ask for fewer hospitals"
    problems = [
        Problem(name, "no patient is left there", remedy)
        for name, size in zip(base.clients, sizes, strict=True)
        if size == 0
    ]
    if problems:
        raise DataError(problems)
    client = hospital[patients.of_row]
    return Partition(base.clients, client, base.annotated, base.acquisition)
