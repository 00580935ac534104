"""Every hospital annotates only some of the labels; of the others nobody there says anything."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from concilium.data.table import ExamTable
from concilium.foundation.checks import at_least
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.seeds import numpy_generator
from concilium.partitioners._dealing import Base, build_base
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class PartialAnnotation(Partitioner):
    """The patients as ``of`` deals them out; each hospital annotates some of the labels.

    ``labels_per_hospital`` is how many; None is half of them, or more where that is needed to cover
    all. Every label is annotated by at least one hospital, and all by nearly the same number.
    Raises InputError where the hospitals together could not cover all labels, and where there are
    fewer labels than one hospital should annotate.
    """

    labels_per_hospital: int | None = None
    of: Base = "iid"

    def __post_init__(self) -> None:
        if self.labels_per_hospital is not None:
            at_least(1, labels_per_hospital=self.labels_per_hospital)

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        base = build_base(self.of)(table, num_clients, seed)
        num_hospitals, num_labels = base.annotated.shape
        number = self.labels_per_hospital
        if number is None:
            number = max(math.ceil(num_labels / 2), math.ceil(num_labels / num_hospitals))
        _check(number, num_hospitals, num_labels)
        generator = numpy_generator(seed, "partial_annotation")
        annotated = _annotated(number, num_hospitals, num_labels, generator)
        return replace(base, annotated=base.annotated & annotated)


def _check(number: int, num_hospitals: int, num_labels: int) -> None:
    where = "partitioners.partial_annotation.labels_per_hospital"
    if number > num_labels:
        raise InputError(Problem(where, f"{number} is more than the {num_labels} labels"))
    if number * num_hospitals < num_labels:
        what = f"{num_hospitals} hospitals × {number} labels leave some of {num_labels} to nobody"
        least = math.ceil(num_labels / num_hospitals)
        raise InputError(Problem(where, what, f"set it to at least {least}"))


def _annotated(
    number: int, num_hospitals: int, num_labels: int, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Which labels each hospital annotates (K, L): those that fewest others do, ties at random."""
    annotated = np.zeros((num_hospitals, num_labels), bool)
    for k in generator.permutation(num_hospitals):
        least = np.lexsort((generator.random(num_labels), annotated.sum(0)))
        annotated[k, least[:number]] = True
    return annotated
