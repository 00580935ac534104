"""Some of a table's patients, chosen so that a smaller share is part of every greater one.

For learning curves: patients stand in one order, from which a share takes the first. The order is
that of a tree: all patients are dealt into two halves that are alike in every label
(``stratification``), each half again, and so on; whoever is in the first half comes first. So the
first patients are alike to all the others however many they are, to a case or two of a label where
one taken at random would miss a rare label altogether. Only the branch in which a share ends is
dealt out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from concilium.data.patients import Patients
from concilium.data.splits import strata
from concilium.data.stratification import deal
from concilium.data.table import ExamTable
from concilium.foundation.checks import fraction, positive
from concilium.foundation.seeds import numpy_generator

Indices = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]


def labelled_rows(table: ExamTable, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows (N,) belong to the share of the patients, in (0, 1], whose exams are labelled.

    Patients are whole; of P there are P × ``share`` to the nearest, and one at least. With one seed
    a smaller share is part of a greater one. Raises InputError for a share outside (0, 1].
    """
    fraction(share=share)
    positive(share=share)
    patients = Patients.of(table)
    if not len(patients):
        return np.zeros(0, np.bool_)
    number = max(1, round(share * len(patients)))
    counts = np.column_stack([strata(table, patients), np.ones_like(patients.images)])
    chosen = np.zeros(len(patients), np.bool_)
    chosen[_first(number, np.arange(len(patients)), counts, seed, "")] = True
    return np.asarray(chosen[patients.of_row], np.bool_)


def _first(number: int, branch: Indices, counts: Counts, seed: int, place: str) -> Indices:
    """The first so many patients of a branch of the tree; ``place`` says which branch it is."""
    if number in (0, len(branch)):
        return branch[:number]
    generator = numpy_generator(seed, "labelled", place)
    own = counts[branch]
    half = deal(own, np.tile(own.sum(0) / 2, (2, 1)), generator)
    first, second = branch[half == 0], branch[half == 1]
    if not len(first) or not len(second):  # few patients, and unlike: any order will do
        return generator.permutation(branch)[:number]
    if number <= len(first):
        return _first(number, first, counts, seed, place + "0")
    return np.append(first, _first(number - len(first), second, counts, seed, place + "1"))
