"""The laws of every file in the folder of partitioners; a new file is tested without an edit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import concilium.partitioners
from concilium.data.table import ExamTable
from concilium.foundation import components
from concilium.foundation.errors import DataError
from concilium.partitioners.contract import Partition

from .conftest import build, some_table

EVERY = components.names("partitioners")
RANDOM = [name for name in EVERY if name != "by_hospital"]  # which a column decides, not a seed
WRAPPERS = ("acquisition_shift", "partial_annotation", "specialist")
NUM_CLIENTS = 4


def check_partition(table: ExamTable, partition: Partition) -> None:
    """Every row has a hospital, every hospital rows; patients are whole; shapes are as promised."""
    num_clients = len(partition.clients)
    assert len(set(partition.clients)) == num_clients
    assert partition.client.shape == (len(table),)
    assert partition.client.dtype == np.int64
    assert set(partition.client.tolist()) == set(range(num_clients))
    hospitals_of_patient = np.unique(np.column_stack([table.patient, partition.client]), axis=0)
    assert len(hospitals_of_patient) == len(np.unique(table.patient))
    assert partition.annotated.shape == (num_clients, len(table.schema))
    assert partition.annotated.dtype == bool
    assert partition.annotated.any(0).all()  # every label is annotated by somebody
    assert set(partition.acquisition) <= set(partition.clients)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("seed", range(3))
def test_every_patient_is_whole_and_every_row_has_a_hospital(name: str, seed: int) -> None:
    table = some_table(seed)
    partition = build(name)(table, NUM_CLIENTS, seed)
    check_partition(table, partition)
    assert len(partition.clients) == NUM_CLIENTS


@pytest.mark.parametrize("name", EVERY)
def test_one_seed_gives_one_partition(name: str, table: ExamTable) -> None:
    one, two = (build(name)(table, NUM_CLIENTS, 5) for _ in range(2))
    assert one.clients == two.clients
    assert one.acquisition == two.acquisition
    np.testing.assert_array_equal(one.client, two.client)
    np.testing.assert_array_equal(one.annotated, two.annotated)


@pytest.mark.parametrize("name", RANDOM)
def test_another_seed_gives_another_partition(name: str, table: ExamTable) -> None:
    one, two = (build(name)(table, NUM_CLIENTS, seed) for seed in (5, 6))
    assert (one.client != two.client).any()


@pytest.mark.parametrize("name", EVERY)
def test_it_changes_nothing_in_the_table(name: str) -> None:
    table, untouched = some_table(1), some_table(1)
    build(name)(table, NUM_CLIENTS, 0)
    np.testing.assert_array_equal(table.states, untouched.states)
    np.testing.assert_array_equal(table.patient, untouched.patient)


@pytest.mark.parametrize("name", EVERY)
def test_patients_whose_codes_are_not_consecutive(name: str) -> None:
    table = some_table(2)
    part = table.take(np.flatnonzero(table.patient % 3 > 0))
    check_partition(part, build(name)(part, NUM_CLIENTS, 0))


@pytest.mark.parametrize("name", RANDOM)
def test_hospitals_are_named_by_number(name: str, table: ExamTable) -> None:
    partition = build(name)(table, 3, 0)
    assert partition.clients == ("hospital-1", "hospital-2", "hospital-3")


@pytest.mark.parametrize("name", RANDOM)
def test_more_hospitals_than_patients_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"num_clients=5 is more than the 4 patients"):
        build(name)(some_table(0, num_patients=4), 5, 0)


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_wraps_another_deals_as_that_one_does(name: str, table: ExamTable) -> None:
    settings = {"specialist": {"specialists": [{"labels": ["E"], "hospital": 2}]}}.get(name, {})
    of = {"name": "dirichlet", "alpha": 0.5}
    wrapped = components.build("partitioners", name, settings | {"of": of})(table, 4, 3)
    base = components.build("partitioners", "dirichlet", {"alpha": 0.5})(table, 4, 3)
    carriers = np.unique(table.patient[table.states[:, 4] == 1])
    same = ~np.isin(table.patient, carriers) if name == "specialist" else slice(None)
    np.testing.assert_array_equal(wrapped.client[same], base.client[same])


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of our package Python runs for it; those inside NumPy do not count."""
    number = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal number
        if "concilium" not in Path(frame.f_code.co_filename).parts:
            return None
        number += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return number


@pytest.mark.parametrize("name", [name for name in EVERY if name != "coupling_skew"])
def test_no_line_is_run_again_for_every_patient_or_image(name: str) -> None:
    # `coupling_skew` may: it places one patient after the other, by all that they carry.
    small, large = some_table(0, 300), some_table(0, 2400)
    partitioner = build(name)
    few, many = (
        lines_run(lambda of=of: partitioner(of, NUM_CLIENTS, 0))  # type: ignore[misc]
        for of in (small, large)
    )
    assert few > 0 and many < few + 300  # there are 2,100 more patients, and 5,000 more images


DROPPED_IN = '''
"""Patients in the order of their codes, round and round, from a random start."""

from dataclasses import dataclass

import numpy as np

from concilium.foundation.seeds import numpy_generator
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class RoundRobin(Partitioner):
    def __call__(self, table, num_clients, seed):
        start = int(numpy_generator(seed, "round robin").integers(num_clients))
        annotated = np.ones((num_clients, len(table.schema)), bool)
        names = tuple(f"hospital-{k + 1}" for k in range(num_clients))
        return Partition(names, (table.patient + start) % num_clients, annotated)
'''


def test_a_file_that_is_dropped_in_is_a_choice_and_obeys_the_laws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: ExamTable
) -> None:
    (tmp_path / "round_robin.py").write_text(DROPPED_IN)
    paths = [*concilium.partitioners.__path__, str(tmp_path)]
    monkeypatch.setattr(concilium.partitioners, "__path__", paths)
    assert "round_robin" in components.names("partitioners")
    check_partition(table, components.build("partitioners", "round_robin")(table, NUM_CLIENTS, 0))
    # And others can stand on it at once.
    of_it = components.build("partitioners", "partial_annotation", {"of": "round_robin"})
    check_partition(table, of_it(table, NUM_CLIENTS, 0))
