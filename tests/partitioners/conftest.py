"""Tables to deal out, and settings of the partitioners that cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from concilium.data.table import ExamTable, patient_codes
from concilium.foundation import components
from concilium.labels.schema import LabelSchema
from concilium.partitioners.contract import Partitioner

# Label A on a third of the images, B goes with A, E on one in fifty.
SCHEMA = LabelSchema(("A", "B", "C", "D", "E"), {"Alpha": "A"})

# What a partitioner cannot be built without; all others are built with their defaults.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "coupling_skew": {"pairs": [["A", "B"], ["C", "D"]]},
    "specialist": {"specialists": [{"labels": ["E"], "hospital": 2}]},
}


def build(name: str) -> Partitioner:
    partitioner: Partitioner = components.build("partitioners", name, SETTINGS.get(name))
    return partitioner


def some_table(seed: int = 0, num_patients: int = 400) -> ExamTable:
    """About 1,000 images in random order; every patient belongs to one of four hospitals."""
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(num_patients), generator.integers(1, 5, num_patients))
    patient = patient_codes(generator.permutation(patient))
    present = generator.random((len(patient), 5)) < [0.33, 0.1, 0.2, 0.1, 0.02]
    present[:, 1] |= present[:, 0] & (generator.random(len(patient)) < 0.3)
    hospitals = np.array(["north", "east", "south", "west"])
    of_patient = generator.integers(0, 4, num_patients)
    columns = {"hospital": hospitals[of_patient[patient]]}
    return ExamTable(SCHEMA, present.astype(np.int8), patient, columns)


@pytest.fixture(scope="session")
def table() -> ExamTable:
    return some_table()
