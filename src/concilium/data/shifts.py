"""What shifted between hospitals: the statement that is saved beside every partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from concilium.data.acquisition import Acquisition
from concilium.data.rows import rows_of_each
from concilium.data.table import ExamTable
from concilium.labels.correlation import phi
from concilium.labels.statistics import LabelStatistics
from concilium.labels.uncertainty import UncertaintyPolicy, resolve

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class DealtOut(Protocol):
    """Who holds what, as ``partitioners.contract.Partition`` says it."""

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the K hospitals."""

    @property
    def client(self) -> npt.NDArray[np.int64]:
        """The hospital of each row (N,)."""

    @property
    def annotated(self) -> npt.NDArray[np.bool_]:
        """Which labels each hospital annotates (K, L)."""

    @property
    def acquisition(self) -> Mapping[str, Acquisition]:
        """How the images of a hospital differ, by its name."""


@dataclass(frozen=True)
class HospitalShifts:
    """Counts and correlations of K hospitals and L labels, before any split into parts.

    ``images`` and ``patients`` (K,); ``share`` (K,) of all images; ``annotated`` (K, L);
    ``known`` and ``positives`` (K, L): images on which a label is known and present, 0 where the
    hospital does not annotate it; ``prevalence`` (K, L), NaN where nothing is known; ``phi``
    (K, L, L) and ``phi_of_all`` (L, L), NaN where undefined; ``phi_distance`` (K,) the root mean
    square difference between the two over the ``compared_pairs`` (K,) of labels for which both are
    defined, NaN where there are none; ``acquisition`` by hospital. Uncertain labels are ignored.
    """

    labels: tuple[str, ...]
    hospitals: tuple[str, ...]
    images: Counts
    patients: Counts
    share: Floats
    annotated: npt.NDArray[np.bool_]
    known: Counts
    positives: Counts
    prevalence: Floats
    phi: Floats
    phi_of_all: Floats
    phi_distance: Floats
    compared_pairs: Counts
    acquisition: Mapping[str, Acquisition]

    def to_json(self) -> dict[str, Any]:
        """Give the plain values that a JSON file holds; undefined numbers are null."""
        values = {name: _plain(value) for name, value in vars(self).items()}
        habits = {name: asdict(habit) for name, habit in self.acquisition.items()}
        return values | {"acquisition": habits}


def describe_shifts(table: ExamTable, partition: DealtOut) -> HospitalShifts:
    """Describe how the hospitals of a partition differ, over all rows of its table."""
    target, known = resolve(table.states, UncertaintyPolicy())
    known = known & partition.annotated[partition.client]
    rows = rows_of_each(partition.client, len(partition.clients))
    statistics = [LabelStatistics.of(target[r], known[r], table.patient[r]) for r in rows]
    phi_of_all = phi(sum(statistics, LabelStatistics.zero(len(table.schema))))
    of_each = np.stack([phi(own) for own in statistics])
    distance, compared = _distances(of_each, phi_of_all)
    images = np.array([own.num_images for own in statistics], np.int64)
    return HospitalShifts(
        labels=table.schema.names,
        hospitals=partition.clients,
        images=images,
        patients=np.array([own.num_patients for own in statistics], np.int64),
        share=images / images.sum(),
        annotated=partition.annotated,
        known=np.stack([own.known for own in statistics]),
        positives=np.stack([own.positives for own in statistics]),
        prevalence=np.stack([own.prevalence for own in statistics]),
        phi=of_each,
        phi_of_all=phi_of_all,
        phi_distance=distance,
        compared_pairs=compared,
        acquisition=dict(partition.acquisition),
    )


def _distances(of_each: Floats, whole: Floats) -> tuple[Floats, Counts]:
    """Root mean square difference (K,) over the pairs of labels that both define, and their number
    (K,); NaN where there are none.
    """
    first, second = np.triu_indices(len(whole), k=1)
    difference = (of_each - whole)[:, first, second]
    defined = np.isfinite(difference)
    distance = [
        float(np.sqrt(np.mean(own[there] ** 2))) if there.any() else np.nan
        for own, there in zip(difference, defined, strict=True)
    ]
    return np.array(distance), defined.sum(1)


def _plain(value: Any) -> Any:
    """Lists and numbers for arrays, None for NaN."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        numbers = value.astype(object)
        numbers[np.isnan(value)] = None
        return numbers.tolist()
    return value.tolist()
