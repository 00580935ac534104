"""The digest of a data set: it follows everything that a result depends on, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from concilium.data.dataset import Dataset
from concilium.data.table import ExamTable
from concilium.labels.schema import LabelSchema


def dataset() -> Dataset:
    """Six exams of three patients at two hospitals."""
    states = np.array([[1, 0], [0, 0], [1, 1], [-1, 0], [0, -2], [1, 0]], np.int8)
    hospital = np.array(["north", "north", "south", "south", "south", "north"])
    table = ExamTable(
        LabelSchema(("a", "b"), {}), states, np.arange(6) // 2, {"hospital": hospital}
    )
    return Dataset(table, np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8), "six")


def changed(what: str) -> Dataset:
    """The data set with one value of this kind changed."""
    own = dataset()
    images, table = own.images.copy(), own.table
    if what == "pixel":
        images[-1, -1, -1] += 1
    elif what == "label":
        states = table.states.copy()
        states[-1, -1] = 1
        table = replace(table, states=states)
    elif what == "name of a label":
        table = replace(table, schema=LabelSchema(("a", "c"), {}))
    elif what == "patient":
        table = replace(table, patient=np.array([0, 0, 1, 1, 2, 0]))
    else:
        hospital = table.covariates["hospital"].copy()
        hospital[0] = "south"
        table = replace(table, covariates={"hospital": hospital})
    return replace(own, images=images, table=table)


@pytest.mark.parametrize("what", ["pixel", "label", "name of a label", "patient", "covariate"])
def test_one_changed_value_changes_the_digest(what: str) -> None:
    assert changed(what).digest() != dataset().digest()


def test_title_and_notes_change_no_digest() -> None:
    own = dataset()
    assert replace(own, title="other", notes={"dropped": "4"}).digest() == own.digest()
