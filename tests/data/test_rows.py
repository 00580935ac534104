"""Views of rows: what is read through them is what the array holds there, in their order."""

from __future__ import annotations

import numpy as np

from concilium.data.rows import Rows, join

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
