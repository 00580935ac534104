"""Every hospital gets a random sample of the patients, all of about the same number of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from concilium.data.table import ExamTable
from concilium.foundation.seeds import numpy_generator
from concilium.partitioners._dealing import cut, hospital_names, partition_of, patients_for, refill
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class Iid(Partitioner):
    """Patients in random order, cut into stretches of equal numbers of images."""

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        patients = patients_for(table, num_clients)
        generator = numpy_generator(seed, "iid")
        order = generator.permutation(len(patients))
        hospital = np.empty(len(patients), np.intp)
        hospital[order] = cut(patients.images[order], np.ones(num_clients))
        hospital = refill(hospital, patients.images, num_clients, 1, generator)
        return partition_of(table, patients, hospital, hospital_names(num_clients))
