"""The statement of what shifted: equal to counting hospital by hospital, and plain JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from concilium.data.acquisition import Acquisition
from concilium.data.shifts import HospitalShifts, describe_shifts
from concilium.data.table import ExamTable
from concilium.labels.schema import LabelSchema
from concilium.labels.states import State
from concilium.partitioners.contract import Partition

SCHEMA = LabelSchema(("A", "B", "C"))


def some_table(seed: int = 0) -> ExamTable:
    generator = np.random.default_rng(seed)
    states = (generator.random((300, 3)) < [0.5, 0.4, 0.3]).astype(np.int8)
    return ExamTable(SCHEMA, states, np.arange(300) // 2)


def dealt(table: ExamTable, num_clients: int = 3, seed: int = 0) -> Partition:
    of_patient = np.random.default_rng(seed).integers(0, num_clients, 150)
    names = tuple(f"hospital-{k + 1}" for k in range(num_clients))
    annotated = np.ones((num_clients, 3), bool)
    return Partition(names, of_patient[table.patient].astype(np.int64), annotated)


def test_it_equals_counting_hospital_by_hospital() -> None:
    table = some_table()
    partition = dealt(table)
    shifts = describe_shifts(table, partition)
    whole = np.corrcoef(table.states.T.astype(float))
    np.testing.assert_allclose(shifts.phi_of_all, whole, atol=1e-12)
    for k in range(3):
        own = table.states[partition.client == k]
        assert shifts.images[k] == len(own)
        assert shifts.patients[k] == len(own) // 2
        assert shifts.share[k] == pytest.approx(len(own) / 300)
        np.testing.assert_array_equal(shifts.positives[k], own.sum(0))
        np.testing.assert_allclose(shifts.prevalence[k], own.mean(0))
        phi = np.corrcoef(own.T.astype(float))
        np.testing.assert_allclose(shifts.phi[k], phi, atol=1e-12)
        pairs = [(0, 1), (0, 2), (1, 2)]
        squares = [(phi[pair] - whole[pair]) ** 2 for pair in pairs]
        assert shifts.phi_distance[k] == pytest.approx(np.sqrt(np.mean(squares)))
        assert shifts.compared_pairs[k] == 3


def test_one_hospital_that_holds_everything_has_not_shifted() -> None:
    table = some_table()
    shifts = describe_shifts(table, dealt(table, num_clients=1))
    assert shifts.share.tolist() == [1.0]
    assert shifts.phi_distance.tolist() == [0.0]


def test_a_label_that_a_hospital_does_not_annotate_is_unknown_there_not_absent() -> None:
    table = some_table()
    partition = dealt(table)
    partition.annotated[0] = [True, False, False]
    shifts = describe_shifts(table, partition)
    assert shifts.known[0, 1] == shifts.positives[0, 1] == 0
    assert np.isnan(shifts.prevalence[0, 1:]).all()
    assert np.isnan(shifts.phi[0][0, 1])
    assert shifts.compared_pairs.tolist() == [0, 3, 3]
    assert np.isnan(shifts.phi_distance[0])
    # The first hospital says nothing of pairs: phi of all is that of the two others together.
    others = table.states[partition.client > 0].T.astype(float)
    assert shifts.phi_of_all[0, 1] == pytest.approx(np.corrcoef(others)[0, 1])


def test_uncertain_and_unknown_labels_are_not_counted() -> None:
    states = np.array([[State.UNCERTAIN, State.UNKNOWN, State.PRESENT]] * 4, np.int8)
    table = ExamTable(SCHEMA, states, np.arange(4))
    shifts = describe_shifts(table, dealt(table, num_clients=1))
    assert shifts.known.tolist() == [[0, 0, 4]]
    assert shifts.positives.tolist() == [[0, 0, 4]]


def test_permuting_the_labels_permutes_the_statement() -> None:
    table, order = some_table(), np.array([2, 0, 1])
    names = tuple(SCHEMA.names[i] for i in order)
    permuted = ExamTable(LabelSchema(names), table.states[:, order], table.patient)
    one, two = (describe_shifts(each, dealt(table)) for each in (table, permuted))
    np.testing.assert_array_equal(two.positives, one.positives[:, order])
    np.testing.assert_allclose(two.phi, one.phi[:, order][:, :, order])
    np.testing.assert_allclose(two.phi_distance, one.phi_distance)


def statement_with_everything() -> HospitalShifts:
    table = some_table()
    partition = dealt(table)
    partition.annotated[0, 1] = False
    habits = {"hospital-2": Acquisition(contrast=1.2)}
    return describe_shifts(
        table, Partition(partition.clients, partition.client, partition.annotated, habits)
    )


def test_it_is_plain_json_in_which_undefined_is_null() -> None:
    plain = statement_with_everything().to_json()
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text)["prevalence"][0][1] is None
    assert json.loads(text)["labels"] == ["A", "B", "C"]
    assert json.loads(text)["acquisition"]["hospital-2"]["contrast"] == 1.2
    assert json.loads(text)["annotated"][0] == [True, False, True]


def test_it_names_no_patient() -> None:
    # 300 rows and 150 patients: nothing in the statement has a length that goes with them.
    text = json.dumps(statement_with_everything().to_json())
    assert max(len(part.split(",")) for part in text.replace("[", "]").split("]")) < 20


class Watched(np.ndarray[Any, Any]):
    """An array that counts how often all of it is compared or computed with."""

    passes = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        Watched.passes += 1
        plain = [np.asarray(value) for value in inputs]
        return getattr(ufunc, method)(*plain, **options)


@pytest.mark.parametrize("num_clients", [3, 60])
def test_the_table_is_not_searched_once_more_for_every_hospital(num_clients: int) -> None:
    # A search of all images for each hospital is what made many hospitals slow.
    table = some_table()
    partition = dealt(table, num_clients)
    watched = Partition(partition.clients, partition.client.view(Watched), partition.annotated)
    Watched.passes = 0
    assert watched.client.max() < num_clients and Watched.passes == 1  # it does count
    shifts = describe_shifts(table, watched)
    assert Watched.passes <= 4
    np.testing.assert_array_equal(shifts.images, np.bincount(partition.client))
