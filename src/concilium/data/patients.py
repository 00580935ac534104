"""A table seen by patient: what is dealt out is patients, never single images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from concilium.data.table import ExamTable
from concilium.labels.states import State

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Patients:
    """The P patients of a table of N images with L labels.

    ``code`` (P,) their codes, ascending; ``of_row`` (N,) the index of each row's patient;
    ``images`` (P,) how many images each has; ``positives`` (P, L) on how many of them each label is
    present.
    """

    code: Counts
    of_row: npt.NDArray[np.intp]
    images: Counts
    positives: Counts

    def __len__(self) -> int:
        return len(self.code)

    @staticmethod
    def of(table: ExamTable) -> Patients:
        """Group a table by patient."""
        code, of_row = numbered(table.patient)
        images = np.bincount(of_row, minlength=len(code)).astype(np.int64)
        positives = count_rows(of_row, table.states == State.PRESENT, len(code))
        return Patients(code, of_row, images, positives)


def count_rows(
    of_row: npt.NDArray[np.intp], said: npt.NDArray[np.bool_], num_patients: int
) -> Counts:
    """On how many of each patient's rows each column of ``said`` (N, C) is true (P, C)."""
    rows = len(of_row)
    # One entry a column, the patient of the row: a matrix that needs no sorting to be made.
    membership = sparse.csc_array(
        (np.ones(rows, np.int32), of_row, np.arange(rows + 1)), shape=(num_patients, rows)
    )
    return np.asarray(membership @ said.astype(np.int32)).astype(np.int64)


def numbered(codes: Counts) -> tuple[Counts, npt.NDArray[np.intp]]:
    """The P codes that occur, ascending, and the index of each row's code (N,)."""
    if not len(codes) or codes.min() < 0 or codes.max() > 4 * len(codes):
        return np.unique(codes, return_inverse=True)
    there = np.bincount(codes) > 0  # codes of a table are small numbers: nothing need be sorted
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]
