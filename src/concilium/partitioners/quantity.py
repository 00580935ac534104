"""Hospitals of different sizes that see the same mix of patients.

Sizes by a Dirichlet distribution are the quantity skew of Q. Li et al., "Federated learning on
non-IID data silos", ICDE 2022, arXiv 2102.02079.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from concilium.data.table import ExamTable
from concilium.foundation.checks import not_negative, one_of, positive
from concilium.foundation.seeds import numpy_generator
from concilium.partitioners._dealing import cut, hospital_names, partition_of, patients_for, refill
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class Quantity(Partitioner):
    """Patients in random order, cut into stretches of unequal numbers of images.

    ``sizes``: "dirichlet" draws the shares from Dirichlet(``alpha``), smaller is more unequal;
    "power_law" gives hospital k a share proportional to k^(−``exponent``), 0 is equal. No hospital
    has fewer than ``min_images`` ≥ 0 images; with 0, one that is empty is an error.
    """

    sizes: Literal["dirichlet", "power_law"] = "dirichlet"
    alpha: float = 1.0
    exponent: float = 1.0
    min_images: int = 10

    def __post_init__(self) -> None:
        one_of(("dirichlet", "power_law"), sizes=self.sizes)
        positive(alpha=self.alpha)
        not_negative(exponent=self.exponent, min_images=self.min_images)

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        patients = patients_for(table, num_clients)
        generator = numpy_generator(seed, "quantity")
        if self.sizes == "dirichlet":
            shares = generator.dirichlet(np.full(num_clients, self.alpha))
        else:
            shares = np.arange(1, num_clients + 1, dtype=np.float64) ** -self.exponent
        order = generator.permutation(len(patients))
        hospital = np.empty(len(patients), np.intp)
        hospital[order] = cut(patients.images[order], shares)
        hospital = refill(hospital, patients.images, num_clients, self.min_images, generator)
        return partition_of(table, patients, hospital, hospital_names(num_clients))
