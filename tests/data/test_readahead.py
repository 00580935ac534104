"""Reading ahead: the bytes of a batch are asked for before it is used, and nothing else changes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from concilium.data.readahead import read_ahead
from concilium.data.rows import Rows

SIDE, COUNT, PAGE = 72, 20, mmap.PAGESIZE  # 72² = 5,184 bytes: more than a page, and no multiple
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)
BATCHES = [np.array([7, 0, 19]), np.array([3, 4, 5]), np.array([11])]


class Watched(mmap.mmap):
    """A memory map that notes which of its bytes were asked for."""

    asked: set[int]

    def madvise(self, option: int, start: int = 0, length: int | None = None) -> None:
        assert option == mmap.MADV_WILLNEED and length is not None
        super().madvise(option, start, length)  # refuses a start within a page
        self.asked |= set(range(start, start + length))


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    path = tmp_path / "a.npy"
    np.save(path, IMAGES)
    like = np.load(path, mmap_mode="r")
    with path.open("rb") as file:
        watched = Watched(file.fileno(), 0, access=mmap.ACCESS_READ)
    watched.asked = set()
    array = np.ndarray.__new__(np.memmap, like.shape, np.uint8, watched, like.offset)
    array.offset = like.offset
    return array


def bytes_of(rows: np.ndarray, offset: int) -> set[int]:
    """The bytes of these images in the file."""
    size = SIDE * SIDE
    return {byte for row in rows for byte in range(offset + row * size, offset + (row + 1) * size)}


@pytest.mark.parametrize("through_rows", [False, True])
def test_a_batch_and_the_next_one_are_asked_for_before_it_is_used(
    mapped: np.memmap, through_rows: bool
) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    images = Rows(mapped, order) if through_rows else mapped
    watched = mapped.base
    assert isinstance(watched, Watched)
    following = [*BATCHES[1:], np.array([], int)]
    for rows, coming in zip(read_ahead(images, iter(BATCHES)), following, strict=True):
        needed = np.concatenate([rows, coming])
        of_file = order[needed] if through_rows else needed
        assert bytes_of(of_file, mapped.offset) <= watched.asked
        assert np.array_equal(images[rows], IMAGES[order[rows] if through_rows else rows])
    assert len(watched.asked) <= sum(map(len, BATCHES)) * (SIDE * SIDE + PAGE), "and little else"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_come_out_as_they_went_in(count: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    in_file = np.load(tmp_path / "a.npy", mmap_mode="r")
    for images in (
        IMAGES,
        in_file,
        in_file[5:],
        Rows(in_file[5:], np.arange(15)),
        Rows(IMAGES, np.arange(20)),
    ):
        found = list(read_ahead(images, iter(BATCHES[:count])))
        assert all(one is other for one, other in zip(found, BATCHES[:count], strict=True))


def test_a_part_of_a_map_and_small_images_are_left_to_the_system(mapped: np.memmap) -> None:
    """A part keeps the offset of the whole, so that other bytes would be asked for."""
    watched = mapped.base
    assert isinstance(watched, Watched)
    small = np.ndarray.__new__(np.memmap, (COUNT, 28, 28), np.uint8, watched, mapped.offset)
    for images in (mapped[5:], small):
        list(read_ahead(images, iter([np.array([1, 2])])))
    assert watched.asked == set()


def test_only_the_next_batch_is_drawn_ahead() -> None:
    drawn: list[int] = []

    def batches() -> Iterator[np.ndarray]:
        for number in range(4):
            drawn.append(number)
            yield np.array([number])

    rows = read_ahead(IMAGES, batches())
    next(rows)
    assert drawn == [0, 1]
