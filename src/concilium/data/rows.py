"""Some rows of a large array, read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """A view of ``array[rows]`` that copies nothing until it is indexed.

    So each hospital of a simulation looks into one memory-mapped file of all images.
    """

    array: Array
    rows: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Array:
        return np.asarray(self.array[self.rows[index]])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as if it were an array."""
        return (len(self.rows), *self.array.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""
        return self.array.dtype


def rows_of_each(group: npt.NDArray[np.integer], number: int) -> list[npt.NDArray[np.intp]]:
    """Rows of each group 0 … ``number`` − 1, ascending, by one sort instead of a search for each.

    >>> [rows.tolist() for rows in rows_of_each(np.array([1, 0, 1]), 3)]
    [[1], [0, 2], []]
    """
    small = group.astype(np.min_scalar_type(number))  # one or two bytes are sorted by counting
    order = np.argsort(small, kind="stable")
    return np.split(order, np.cumsum(np.bincount(group, minlength=number))[:-1])


def join(parts: Sequence[Rows | Array]) -> Rows | Array:
    """All parts, one after the other; nothing is copied where they look into the same array."""
    views = [part for part in parts if isinstance(part, Rows)]
    if len(views) == len(parts) and all(view.array is views[0].array for view in views):
        return Rows(views[0].array, np.concatenate([view.rows for view in views]))
    return np.concatenate([part[np.arange(len(part))] for part in parts])
