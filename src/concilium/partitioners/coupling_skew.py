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
    partition); 1 brings home as many images with both labels as leave the shares of the single
    labels equal. Raises LabelError for an unknown label, DataError for a pair that never occurs.
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
        even = strata(table, patients)
        home = self._home_shares(table, patients, together.sum(0), num_clients)
        others = np.full((num_clients, even.shape[1]), 1 / num_clients)
        counts, shares = np.hstack([together, even]), np.hstack([home, others])
        hospital = deal(counts, shares, generator, num_first=len(self.pairs))
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

    def _home_shares(
        self,
        table: ExamTable,
        patients: Patients,
        together: npt.NDArray[np.int64],
        num_clients: int,
    ) -> npt.NDArray[np.float64]:
        """The share of each pair's images in each hospital (K, number of pairs).

        More than n_a / K of them at home would give it more than its share of label a.
        """
        shares = np.full((num_clients, len(self.pairs)), 1 / num_clients)
        totals = patients.positives.sum(0)
        for number, pair in enumerate(self.pairs):
            fewer = min(totals[label] for label in table.schema.indices(pair))
            most = min(1.0, fewer / (num_clients * together[number]))
            home = (1 - self.strength) / num_clients + self.strength * most
            shares[:, number] = (1 - home) / max(num_clients - 1, 1)
            shares[number % num_clients, number] = home
        return shares
