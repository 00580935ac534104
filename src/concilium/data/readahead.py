"""Rows of a memory-mapped array asked from the disk before they are needed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.rows import Rows

Index = npt.NDArray[np.int64]


def read_ahead(images: npt.NDArray[Any] | Rows, batches: Iterator[Index]) -> Iterator[Index]:
    """The same row numbers, batch by batch; those of the next batch are on their way from the disk.

    Where images lie in a file, mapped into memory and not read yet, indexing waits for one image
    after the other. The system is told the rows of a batch all at once instead, one batch ahead, so
    that it reads them side by side and while the last batch is in use. It costs about a microsecond
    an image where all is in memory already, and only a hint is given: nothing else changes.
    """
    coming: Index | None = None
    for rows in batches:
        _announce(images, rows)
        if coming is not None:
            yield coming
        coming = rows
    if coming is not None:
        yield coming


def _announce(images: npt.NDArray[Any] | Rows, rows: Index) -> None:
    array = images.array if isinstance(images, Rows) else images
    # A slice of a map has the map's offset but starts elsewhere; its base is no mmap.
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return
    length = array[0].nbytes
    if length < mmap.PAGESIZE or not hasattr(mmap, "MADV_WILLNEED"):
        return  # of images below a page (64 pixels a side) the system reads many at a time anyway
    first = array.offset % mmap.ALLOCATIONGRANULARITY
    numbers = images.rows[rows] if isinstance(images, Rows) else rows
    for number in numbers.tolist():
        start = first + number * length
        page = start - start % mmap.PAGESIZE
        array.base.madvise(mmap.MADV_WILLNEED, page, start + length - page)
