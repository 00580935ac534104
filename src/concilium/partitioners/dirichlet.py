"""Label skew: each hospital gets its own mixture of findings.

T.-M. H. Hsu, H. Qi and M. Brown, "Measuring the effects of non-identical data distribution for
federated visual classification", 2019, arXiv 1909.06335, and M. Yurochkin et al., "Bayesian
nonparametric federated learning of neural networks", ICML 2019, arXiv 1905.12022, draw for each
class the shares of the hospitals from a Dirichlet distribution. With several labels an image there
are no classes: a patient counts for the RAREST label that any of their images has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.data.patients import Patients
from concilium.data.table import ExamTable
from concilium.foundation.checks import not_negative, positive
from concilium.foundation.seeds import numpy_generator
from concilium.partitioners._dealing import cut, hospital_names, partition_of, patients_for, refill
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class Dirichlet(Partitioner):
    """For each group of patients, shares of the hospitals from Dirichlet(``alpha`` · 1).

    ``alpha`` > 0: 0.1 nearly separates the labels, 100 is nearly ``iid``. Groups are the rarest
    present labels; patients without any finding are a group of their own. No hospital has fewer
    than ``min_images`` ≥ 0 images (patients of the largest ones are moved); with 0, an empty one is
    an error. Permuting the labels changes nothing.
    """

    alpha: float = 0.3
    min_images: int = 10

    def __post_init__(self) -> None:
        positive(alpha=self.alpha)
        not_negative(min_images=self.min_images)

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        patients = patients_for(table, num_clients)
        group = rarest_label(patients, table.schema.names)
        hospital = np.empty(len(patients), np.intp)
        for label, name in enumerate(("", *table.schema.names), start=-1):
            generator = numpy_generator(seed, "dirichlet", "label", name)
            members = generator.permutation(np.flatnonzero(group == label))
            shares = generator.dirichlet(np.full(num_clients, self.alpha))
            hospital[members] = cut(patients.images[members], shares)
        generator = numpy_generator(seed, "dirichlet", "refill")
        hospital = refill(hospital, patients.images, num_clients, self.min_images, generator)
        return partition_of(table, patients, hospital, hospital_names(num_clients))


def rarest_label(patients: Patients, names: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """The label of each patient (P,) that fewest patients have; −1 for a patient without any.

    Of two labels that are equally rare, the one whose name comes first counts as the rarer.
    """
    has = patients.positives > 0
    frequency = has.sum(0)
    order = np.array(sorted(range(len(names)), key=lambda label: (frequency[label], names[label])))
    return np.where(has.any(1), order[has[:, order].argmax(1)], -1)
