"""Co-occurrence skew: which findings go together differs between hospitals, prevalence does not.

For each pair (a, b) one hospital is home: it gets the images on which both are present, the others
get "a without b" and "b without a". Shares of every single label, and of images, are kept equal
over hospitals: a model can only be misled by what goes together, not by how frequent it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.data.patients import Patients, count_rows
from concilium.data.splits import strata
from concilium.data.stratification import deal
from concilium.data.table import ExamTable
from concilium.foundation.checks import fraction
from concilium.foundation.errors import DataError, InputError, Problem
from concilium.foundation.seeds import numpy_generator
from concilium.labels.states import State
from concilium.partitioners._dealing import hospital_names, partition_of, patients_for, refill
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class CouplingSkew(Partitioner):
    """Deal patients so that each pair of labels is coupled at its home hospital.

    ``pairs`` of label names; the home of the first is hospital 1, of the second hospital 2, and so
    on, round and round. ``strength`` in [0, 1]: 0 spreads every pair evenly (a stratified
    partition). At 1 a home gets patients with both labels until it has its equal share of one of
    the two, those first who have them together most purely, and other hospitals get the rest:
    where they alone fill the share, the labels are hardly ever apart at home. Between, that
    fraction of these patients is brought home. Raises LabelError for an unknown label, DataError
    for a pair that never occurs.
    """

    pairs: tuple[tuple[str, str], ...]
    strength: float = 1.0

    def __post_init__(self) -> None:
        fraction(strength=self.strength)
        if not self.pairs:
            where = "partitioners.coupling_skew.pairs"
            raise InputError(Problem(where, "there are none", "name at least one pair of labels"))

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        patients = patients_for(table, num_clients)
        generator = numpy_generator(seed, "coupling_skew")
        together = self._together(table, patients)
        hospital = self._brought_home(table, patients, together, num_clients, generator)
        free = hospital < 0
        counts = np.hstack([together, strata(table, patients)])
        wanted = np.repeat(counts.sum(0)[None] / num_clients, num_clients, axis=0)
        for k in np.unique(hospital[~free]):
            wanted[k] -= counts[hospital == k].sum(0)
        wanted[:, : len(self.pairs)] = self._pairs_left(together[free].sum(0), num_clients)
        hospital[free] = deal(counts[free], wanted, generator, len(self.pairs), one_by_one=True)
        hospital = refill(hospital, patients.images, num_clients, 1, generator)
        return partition_of(table, patients, hospital, hospital_names(num_clients))

    def _together(self, table: ExamTable, patients: Patients) -> npt.NDArray[np.int64]:
        """Images of each patient with both labels of each pair (P, number of pairs)."""
        present = table.states == State.PRESENT
        indices = [table.schema.indices(pair) for pair in self.pairs]
        both = np.stack([present[:, a] & present[:, b] for a, b in indices], axis=1)
        problems = [
            Problem(
                "partitioners.coupling_skew.pairs",
                "the same label twice" if a == b else "no image has both labels",
                f"choose another pair than {pair[0]!r} and {pair[1]!r}",
            )
            for pair, (a, b), number in zip(self.pairs, indices, both.sum(0), strict=True)
            if a == b or number == 0
        ]
        if problems:
            raise DataError(problems)
        return count_rows(patients.of_row, both, len(patients))

    def _brought_home(
        self,
        table: ExamTable,
        patients: Patients,
        together: npt.NDArray[np.int64],
        num_clients: int,
        generator: np.random.Generator,
    ) -> npt.NDArray[np.intp]:
        """The hospital of each patient who is brought home for a pair (P,), −1 for all others."""
        hospital = np.full(len(patients), -1, np.intp)
        for number, pair in enumerate(self.pairs):
            single = patients.positives[:, table.schema.indices(pair)]
            loads = np.hstack([single, patients.images[:, None]])
            either = single.sum(1) - together[:, number]
            carriers = np.flatnonzero((together[:, number] > 0) & (hospital < 0))
            carriers = generator.permutation(carriers)
            purity = together[carriers, number] / either[carriers]
            carriers = carriers[np.argsort(-purity, kind="stable")]
            home = number % num_clients
            room = loads.sum(0) / num_clients - loads[hospital == home].sum(0)
            fits = (np.cumsum(loads[carriers], axis=0) <= room).all(1)
            chosen = generator.permutation(carriers[fits])
            hospital[chosen[: round(self.strength * len(chosen))]] = home
        return hospital

    def _pairs_left(self, left: npt.NDArray[np.int64], num_clients: int) -> npt.NDArray[np.float64]:
        """Where the images with both labels go of patients not brought home (K, pairs)."""
        shares = np.full((num_clients, len(self.pairs)), 1 / num_clients)
        for number in range(len(self.pairs)):
            at_home = (1 - self.strength) / num_clients
            shares[:, number] = (1 - at_home) / max(num_clients - 1, 1)
            shares[number % num_clients, number] = at_home
        return shares * left
