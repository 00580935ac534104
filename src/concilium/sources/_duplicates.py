"""Images that occur more than once in archives, by their pixels and never by guesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.table import ExamTable
from concilium.sources._image_arrays import digests
from concilium.sources._npz import Archive

_NAMES = "image"  # the array of file names; compared here, and never kept

Rows = npt.NDArray[np.intp]


def first_occurrences(archives: Sequence[Archive]) -> Rows:
    """For each row of all archives (N,), the row where its image occurred first, often itself.

    Two images are the same where their bytes are, and where they have the same file name (array
    ``image``) and 8-bit pixels that nowhere differ by more than 1: two programs, or two versions of
    one, that reduced the same radiograph and round differently.
    """
    found = [digest for archive in archives for digest in digests(archive, "images")]
    original = _first(found)
    by_name = _first(_names(archives, len(found)))
    candidates = np.flatnonzero((original == np.arange(len(found))) & (by_name != original))
    pixels = _pixels(archives, {*candidates.tolist(), *by_name[candidates].tolist()})
    for row in candidates.tolist():
        first = int(by_name[row])
        if _nearly_equal(pixels[row], pixels[first]):
            original[original == row] = original[first]
    return original


def duplicate_notes(table: ExamTable, original: Rows) -> dict[str, str]:
    """What a report says of the rows that are dropped, in the words of the table before that."""
    dropped = np.flatnonzero(original != np.arange(len(original)))
    notes = {"duplicates dropped": f"{len(dropped):,}"}
    for word, column in (("labels", table.states), ("patient", table.patient[:, None])):
        differ = int((column[dropped] != column[original[dropped]]).any(axis=1).sum())
        if differ:
            notes[f"duplicates whose {word} differed"] = f"{differ:,} (the first counts)"
    return notes


def _first(keys: Sequence[object]) -> Rows:
    """For each key the index of its first occurrence."""
    first: dict[object, int] = {}
    return np.array([first.setdefault(key, i) for i, key in enumerate(keys)], np.intp)


def _names(archives: Sequence[Archive], count: int) -> list[object]:
    """The file name of each row, or its number where the archive has no names."""
    names: list[object] = []
    for archive in archives:
        rows = archive.shape("images")[0]
        known = _NAMES in archive.names and archive.shape(_NAMES) == (rows,)
        names += archive.array(_NAMES).tolist() if known else range(len(names), len(names) + rows)
    assert len(names) == count
    return names


def _pixels(archives: Sequence[Archive], rows: set[int]) -> dict[int, npt.NDArray[Any]]:
    """The pixels of some rows, counted over all archives."""
    found: dict[int, npt.NDArray[Any]] = {}
    start = 0
    for archive in archives if rows else ():
        for chunk in archive.chunks("images"):
            for row in rows.intersection(range(start, start + len(chunk))):
                found[row] = chunk[row - start].copy()
            start += len(chunk)
    return found


def _nearly_equal(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    if one.dtype != np.uint8 or other.dtype != np.uint8 or one.shape != other.shape:
        return False
    return bool(np.abs(one.astype(np.int16) - other).max() <= 1)
