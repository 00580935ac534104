"""A data set: a table and its images, and the part of it that one client holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from concilium.data.rows import Rows
from concilium.data.table import ExamTable
from concilium.foundation.errors import DataError
from concilium.labels.schema import LabelSchema
from concilium.labels.statistics import LabelStatistics

PATIENTS = "patients"
"""The note of a data set that does not tell patients: the proof of a split needs to say so."""
NO_PATIENTS = "no patient identifiers: images were taken as patients"

_ROWS = 1024  # images hashed at once


@dataclass(frozen=True)
class Form:
    """What a network must know of data before it sees any: the labels, and an input's shape.

    (1, H, W) for images, (d,) for features.
    """

    schema: LabelSchema
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """What a source returns.

    ``images`` (N, H, W) uint8, memory-mapped where it is large, or features (N, d) float32;
    ``title`` is how reports name it; ``synthetic`` data are called so on every report; ``notes``
    are counts and policies that a report prints ("exact duplicates dropped": "4"). A note
    ``PATIENTS`` stands there if, and only if, images of one patient cannot be told; it begins with
    ``NO_PATIENTS``.
    """

    table: ExamTable
    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    title: str
    synthetic: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.images) != len(self.table):
            raise DataError(f"{len(self.images)} images for {len(self.table)} rows")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, H, W) for images, (d,) for features."""
        shape = self.images.shape[1:]
        return (1, *shape) if self.images.dtype == np.uint8 else tuple(shape)

    @property
    def form(self) -> Form:
        """Labels and shape, without the exams."""
        return Form(self.table.schema, self.input_shape)

    def digest(self) -> str:
        """SHA-256 of all that a result can depend on: pixels, states, patients, covariates.

        Images are read some at a time, so that a memory-mapped array is not copied.
        """
        digest = hashlib.sha256(f"{self.images.dtype}{self.images.shape}".encode())
        for start in range(0, len(self.images), _ROWS):
            digest.update(np.ascontiguousarray(self.images[start : start + _ROWS]).data)
        digest.update(repr(self.table.schema.names).encode())
        digest.update(np.ascontiguousarray(self.table.states).data)
        digest.update(self.table.patient.astype("<i8").data)
        for name, column in sorted(self.table.covariates.items()):
            digest.update(f"{name}{column.tolist()}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Exams:
    """The exams of one client and one part (train, validation or test).

    ``images`` as in ``Dataset`` but of these N exams only, or a view of them; ``target`` (N, L)
    float32 in [0, 1]; ``known`` (N, L) bool; ``patient`` (N,) int64 codes.
    """

    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32] | Rows
    target: npt.NDArray[np.float32]
    known: npt.NDArray[np.bool_]
    patient: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.patient)

    def statistics(self) -> LabelStatistics:
        """Label statistics of these exams."""
        return self._statistics

    @cached_property
    def _statistics(self) -> LabelStatistics:
        return LabelStatistics.of(self.target, self.known, self.patient)
