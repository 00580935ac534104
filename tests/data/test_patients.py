"""A table by patient: the same as counting patient by patient, whatever their codes."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.data.patients import Patients, numbered
from concilium.data.table import ExamTable
from concilium.labels.schema import LabelSchema

# Small numbers as tables have them, with gaps; numbers far apart; negative ones; one; none.
CODES = {
    "consecutive": [2, 0, 1, 1, 0, 2, 2],
    "with gaps": [9, 3, 3, 0, 9, 4, 0],
    "far apart": [70001, 2, 70001, 5, 2, 9_000_000_000_000, 5],
    "negative": [-1, 4, -1, -7, 4, 0, 0],
    "one": [3, 3, 3],
    "none": [],
}


@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
def test_codes_are_numbered_in_ascending_order(codes: list[int]) -> None:
    found, of_row = numbered(np.array(codes, np.int64))
    assert found.tolist() == sorted(set(codes))
    assert [found[index] for index in of_row.tolist()] == codes


@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
def test_images_and_positives_are_those_of_each_patient(codes: list[int]) -> None:
    patient = np.array(codes, np.int64)
    states = np.random.default_rng(0).integers(-2, 2, (len(codes), 3)).astype(np.int8)
    patients = Patients.of(ExamTable(LabelSchema(("A", "B", "C")), states, patient))
    assert len(patients) == len(set(codes))
    for index, code in enumerate(patients.code.tolist()):
        own = states[patient == code]
        assert patients.images[index] == len(own)
        assert patients.positives[index].tolist() == (own == 1).sum(0).tolist()


def test_a_patient_with_very_many_images_is_counted_in_full() -> None:
    # 70,000 images do not fit in two bytes.
    patient = np.zeros(70_000, np.int64)
    states = np.ones((70_000, 1), np.int8)
    patients = Patients.of(ExamTable(LabelSchema(("A",)), states, patient))
    assert patients.positives.tolist() == [[70_000]]
