"""One row an image: whose it is, what is known of its labels, and what else is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from concilium.foundation.errors import DataError
from concilium.labels.schema import LabelSchema


@dataclass(frozen=True)
class ExamTable:
    """Labels and covariates of N images.

    ``states`` (N, L) int8 of ``labels.states.State``; ``patient`` (N,) int64 are consecutive
    codes 0..P−1 (a pseudonym: the identifier of the file never gets here); ``covariates`` are
    columns of length N by name ("age" float with NaN for unknown, "sex", "view", "hospital" str
    with "" for unknown).
    """

    schema: LabelSchema
    states: npt.NDArray[np.int8]
    patient: npt.NDArray[np.int64]
    covariates: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.patient), len(self.schema))
        if self.states.shape != shape:
            raise DataError(f"states have shape {self.states.shape}, expected {shape}")
        for name, column in self.covariates.items():
            if len(column) != len(self.patient):
                raise DataError(f"column {name!r} has {len(column)} rows, not {len(self.patient)}")

    def __len__(self) -> int:
        return len(self.patient)

    def take(self, rows: npt.NDArray[np.intp]) -> ExamTable:
        """The table of some rows; patients keep their codes."""
        columns = {name: column[rows] for name, column in self.covariates.items()}
        return replace(
            self, states=self.states[rows], patient=self.patient[rows], covariates=columns
        )


def patient_codes(identifiers: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Consecutive codes 0..P−1 for patient identifiers, in order of first appearance.

    >>> patient_codes(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    _, first, inverse = np.unique(np.asarray(identifiers), return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
