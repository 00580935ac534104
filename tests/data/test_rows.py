"""Views of rows: what is read through them is what the array holds there, in their order."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.data.rows import Rows, join, rows_of_each

ARRAY = np.arange(10)[:, None] * 11


def test_a_view_reads_the_rows_in_its_order() -> None:
    view = Rows(ARRAY, np.array([7, 3, 5]))
    assert view.shape == (3, 1) and len(view) == 3
    assert view[:][:, 0].tolist() == [77, 33, 55]
    assert view[np.array([2, 0])][:, 0].tolist() == [55, 77]


def test_joined_views_keep_their_order_and_copy_nothing() -> None:
    joined = join([Rows(ARRAY, np.array([7, 3])), Rows(ARRAY, np.array([5, 0]))])
    assert isinstance(joined, Rows) and joined.array is ARRAY
    assert joined[np.arange(4)][:, 0].tolist() == [77, 33, 55, 0]


def test_views_of_different_arrays_and_arrays_are_joined_in_their_order() -> None:
    other = ARRAY + 1
    first, second = Rows(ARRAY, np.array([7, 3])), Rows(other, np.array([5, 0]))
    joined = join([first, second, ARRAY[:2]])
    assert joined[np.arange(6)][:, 0].tolist() == [77, 33, 56, 1, 0, 11]


@pytest.mark.parametrize("number", [1, 5, 300, 70_000])  # one, two and four bytes to sort by
def test_the_rows_of_each_group_are_those_that_a_search_finds(number: int) -> None:
    group = np.random.default_rng(0).integers(0, number, 200)
    found = rows_of_each(group, number)
    assert len(found) == number
    for name in range(0, number, 1 + number // 300):
        assert found[name].tolist() == np.flatnonzero(group == name).tolist()
    assert sum(map(len, found)) == 200


def test_groups_without_a_row_are_empty_wherever_they_stand() -> None:
    found = rows_of_each(np.array([3, 1, 3]), 6)
    assert [rows.tolist() for rows in found] == [[], [1], [], [0, 2], [], []]
