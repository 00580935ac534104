"""Held-out label sets: whoever has one is in the test part, whole, and nobody else moves."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.data.held_out import HeldOut, hold_out
from concilium.data.splits import PARTS, Split, check_disjoint, split_by_patient
from concilium.data.table import ExamTable
from concilium.foundation.errors import DataError
from concilium.labels.schema import LabelSchema
from concilium.labels.states import State

TRAIN, VALIDATION, TEST = range(3)


def table(labels: list[list[int]], patient: list[int]) -> ExamTable:
    return ExamTable(LabelSchema(("A", "B", "C")), np.array(labels, np.int8), np.array(patient))


def present(own: ExamTable) -> np.ndarray:
    return own.states == State.PRESENT


def test_a_patient_with_the_whole_set_on_one_exam_goes_to_test_with_all_exams() -> None:
    """Patient 0 has A + B on one of two exams; patient 1 has both, but never together."""
    own = table([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]], [0, 0, 1, 1, 2])
    before = Split(np.array([TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION], np.int8))
    after, found = hold_out(before, own, present(own), ((0, 1),))
    assert after.part.tolist() == [TEST, TEST, TRAIN, TRAIN, VALIDATION]
    assert found == (HeldOut(("A", "B"), exams=1, patients=1, images=2),)


def test_each_of_several_sets_is_held_out_and_a_part_of_a_set_is_not() -> None:
    own = table([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], [0, 1, 2, 3, 4])
    after, found = hold_out(Split(np.zeros(5, np.int8)), own, present(own), ((0, 1), (2, 1)))
    assert after.part.tolist() == [TEST, TEST, TRAIN, TEST, TRAIN]
    assert [own.exams for own in found] == [2, 2]


def test_what_training_takes_for_absent_is_not_the_set() -> None:
    """Whether uncertain counts as present is for the caller to say, who knows the label policy."""
    own = table([[1, -1, 0], [0, 0, 0]], [0, 1])
    split = Split(np.zeros(2, np.int8))
    with pytest.raises(DataError, match=r"nobody has an exam with A and B together"):
        hold_out(split, own, present(own), ((0, 1),))
    as_positive = present(own) | (own.states == State.UNCERTAIN)
    assert hold_out(split, own, as_positive, ((0, 1),))[0].part.tolist() == [TEST, TRAIN]


@pytest.mark.parametrize("seed", range(3))
def test_the_set_is_seen_nowhere_but_in_test_and_others_stay_where_they_were(seed: int) -> None:
    generator = np.random.default_rng(seed)
    patient = np.repeat(np.arange(200), 2)
    states = (generator.random((400, 3)) < 0.3).astype(np.int8)
    own = ExamTable(LabelSchema(("A", "B", "C")), states, patient)
    before = split_by_patient(own, (0.7, 0.1, 0.2), seed)
    after, _ = hold_out(before, own, present(own), ((0, 2),))
    together = states[:, [0, 2]].all(1)
    assert (after.part[together] == TEST).all() and (before.part[together] == TRAIN).any()
    others = ~np.isin(patient, patient[together])
    np.testing.assert_array_equal(after.part[others], before.part[others])
    assert not any(check_disjoint(after, own).shared_patients.values())


def test_every_set_that_nobody_or_everybody_has_is_named() -> None:
    own = table([[1, 1, 0], [1, 1, 0]], [0, 1])
    split = Split(np.zeros(2, np.int8))
    with pytest.raises(DataError) as caught:
        hold_out(split, own, present(own), ((0, 1), (1, 2)))
    what = [problem.what for problem in caught.value.problems]
    assert what == [
        "every patient has an exam with A and B together",
        "nobody has an exam with B and C together",
    ]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_that_nobody_is_left_for_is_named(part: str) -> None:
    own = table([[1, 1, 0], [1, 0, 0]], [0, 1])
    others = {"train": VALIDATION, "validation": TRAIN}[part]
    split = Split(np.array([PARTS.index(part), others], np.int8))
    with pytest.raises(DataError, match=f"nobody is left for {part}"):
        hold_out(split, own, present(own), ((0, 1),))
