"""What a partitioner wraps stays: annotation and acquisition of its base are not lost."""

from __future__ import annotations

from typing import Any

import pytest

from concilium.data.table import ExamTable
from concilium.foundation import components
from concilium.partitioners.contract import Partition

PARTIAL = {"name": "partial_annotation", "labels_per_hospital": 3}
SHIFTED = {"name": "acquisition_shift", "strength": 1.0}
SPECIALISTS = [{"labels": ["E"], "hospital": 2}]


def deal(table: ExamTable, choice: dict[str, Any]) -> Partition:
    settings = {key: value for key, value in choice.items() if key != "name"}
    partition: Partition = components.build("partitioners", choice["name"], settings)(table, 4, 0)
    return partition


def test_partial_annotation_takes_labels_away_and_gives_none_back(table: ExamTable) -> None:
    base = deal(table, PARTIAL)
    wrapped = deal(table, {"name": "partial_annotation", "labels_per_hospital": 4, "of": PARTIAL})
    alone = deal(table, {"name": "partial_annotation", "labels_per_hospital": 4})
    assert not (wrapped.annotated & ~base.annotated).any()
    assert (wrapped.annotated == base.annotated & alone.annotated).all()


@pytest.mark.parametrize(
    "wrapper",
    [
        {"name": "specialist", "specialists": SPECIALISTS},
        {"name": "partial_annotation", "labels_per_hospital": 3},
    ],
)
def test_the_machines_of_the_base_stay(table: ExamTable, wrapper: dict[str, Any]) -> None:
    base = deal(table, SHIFTED)
    assert deal(table, {**wrapper, "of": SHIFTED}).acquisition == base.acquisition
    assert len(base.acquisition) == 4


@pytest.mark.parametrize(
    "wrapper", [{"name": "specialist", "specialists": SPECIALISTS}, SHIFTED], ids=["s", "a"]
)
def test_what_the_hospitals_of_the_base_annotate_stays(
    table: ExamTable, wrapper: dict[str, Any]
) -> None:
    base = deal(table, PARTIAL)
    assert (deal(table, {**wrapper, "of": PARTIAL}).annotated == base.annotated).all()
    assert not base.annotated.all()
