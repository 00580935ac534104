"""The overview of a data set counts what is there, names what is odd, and tells no identifier."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from concilium.data.dataset import Dataset
from concilium.data.table import ExamTable
from concilium.labels.schema import LabelSchema
from concilium.studies.overview import MOST_VALUES, describe_column, overview


def dataset(states: npt.ArrayLike, names: tuple[str, ...], **covariates: npt.ArrayLike) -> Dataset:
    values = np.array(states, np.int8)
    columns = {name: np.asarray(column) for name, column in covariates.items()}
    table = ExamTable(LabelSchema(names), values, np.arange(len(values)) // 2, columns)
    images = np.random.default_rng(0).integers(0, 255, (len(values), 4, 4), np.uint8)
    return Dataset(table, images, "made up")


def test_the_four_states_are_counted_and_prevalence_is_among_known() -> None:
    found = overview(dataset([[1], [1], [0], [-1], [-2], [-2]], ("Mass",)))
    (own,) = found.labels
    assert (own.present, own.absent, own.uncertain, own.unknown) == (2, 1, 1, 2)
    assert own.prevalence == pytest.approx(2 / 3)
    assert own.group == "head"
    assert (found.images, found.patients) == (6, 3)


def test_a_label_that_nobody_annotates_has_no_prevalence_and_no_group() -> None:
    own = overview(dataset([[0, -2], [1, -2]], ("Mass", "Hernia"))).labels[1]
    assert math.isnan(own.prevalence)
    assert own.group is None


def test_pairs_are_those_of_phi_and_of_independence() -> None:
    # Of 8 images, a on 4, b on the same 4, c on 4 of which 2 with a: a and b are one, c is free.
    a = [1, 1, 1, 1, 0, 0, 0, 0]
    c = [1, 1, 0, 0, 1, 1, 0, 0]
    found = overview(dataset(np.stack([a, a, c], 1), ("a", "b", "c")))
    strongest = found.strongest[0]
    assert (strongest.first, strongest.second, strongest.together) == ("a", "b", 4)
    assert strongest.phi == pytest.approx(1)
    rarest = found.rarest[0]
    assert (rarest.first, rarest.second, rarest.together) == ("a", "c", 2)
    assert rarest.expected == pytest.approx(4 * 4 / 8)
    assert rarest.phi == pytest.approx(0)


def test_permuting_the_labels_permutes_their_rows() -> None:
    states = np.random.default_rng(1).integers(-2, 2, (50, 3))
    straight = overview(dataset(states, ("a", "b", "c")))
    turned = overview(dataset(states[:, [2, 0, 1]], ("c", "a", "b")))
    assert {own.name: own for own in straight.labels} == {own.name: own for own in turned.labels}


def test_problems_name_labels_and_count_images() -> None:
    data = dataset([[0, 1, 1], [0, 1, 0], [0, 1, 0]], ("none", "always", "few"))
    images = np.array(data.images)
    images[1] = 7
    found = overview(Dataset(data.table, images, "made up"))
    none, always, few, gray = found.problems
    assert none.endswith(": none")
    assert always.endswith("ranked: always")
    assert few == "fewer than 10 positives: always (3), few (1)"
    assert gray == "images of a single gray value: 1"


def test_a_column_of_many_words_is_counted_not_shown() -> None:
    # Names of images and of wards may tell who the patient is.
    words = np.array([f"patient-{i}" for i in range(MOST_VALUES + 1)])
    assert describe_column(words) == f"{MOST_VALUES + 1} different values"


def test_numbers_are_described_by_their_range_without_the_unknown() -> None:
    assert describe_column(np.array([30.0, np.nan, 50.0, 70.0])) == (
        "30 to 70, median 50, unknown 1"
    )
    assert describe_column(np.array([np.nan, np.nan])) == "unknown 2"
