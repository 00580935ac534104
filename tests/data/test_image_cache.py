"""The image cache: a hit equals a miss, damage and change are noticed, nothing is half-written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from concilium.data.image_cache import (
    ImageFile,
    Images,
    cached_images,
    decoded,
    file_stamp,
    fingerprint,
    open_images,
)
from concilium.data.images import ImageForm
from concilium.foundation.errors import DataError
from concilium.foundation.files import sha256

IMAGES = np.random.default_rng(0).integers(0, 256, (150, 6, 6), dtype=np.uint8)
SHAPE = (150, 6, 6)


def in_chunks() -> Iterator[Images]:
    yield from (IMAGES[:64], IMAGES[64:128], IMAGES[128:])


def never() -> Iterator[Images]:
    raise AssertionError("the images were made again")


def test_a_hit_equals_a_miss_and_is_a_read_only_memory_map(tmp_path: Path) -> None:
    miss = cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    hit = cached_images(tmp_path, "a", "key", SHAPE, never)
    assert np.array_equal(miss, IMAGES)
    assert np.array_equal(hit, IMAGES)
    assert isinstance(hit, np.memmap)
    assert not hit.flags.writeable
    files = {"a.json", "a.verified.json", "a-key.npy"}
    assert {path.name for path in tmp_path.iterdir()} == files


def test_a_flipped_bit_is_noticed_and_repaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    array = next(tmp_path.glob("*.npy"))
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        repaired = cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    assert "damaged" in caplog.text
    assert np.array_equal(repaired, IMAGES)


def test_a_bit_flipped_while_it_is_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The checksum is that of the pixels handed over, not of what stands on the disk."""

    def flipping(descriptor: int) -> None:
        if os.fstat(descriptor).st_size > IMAGES.nbytes:  # the array, not the JSON or the folder
            os.pwrite(descriptor, bytes([IMAGES[0, 0, 0] ^ 1]), 128)  # its first pixel

    monkeypatch.setattr("concilium.data.image_cache.os.fsync", flipping)
    with pytest.raises(DataError, match="cannot be read back"):
        cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    assert "damaged" in caplog.text


def test_the_array_is_read_from_end_to_end_once_and_not_for_every_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256(path)

    monkeypatch.setattr("concilium.data.verification.sha256", counted)
    cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    assert len(read) == 1
    later = next(tmp_path.glob("*.npy")).stat().st_ctime_ns + 10**9
    os.utime(tmp_path / "a.verified.json", ns=(later, later))  # tests run within one tick
    for _ in range(3):
        assert open_images(tmp_path, "a", "key") is not None
    assert len(read) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "{}"])
def test_a_damaged_description_is_no_cache(tmp_path: Path, damage: str) -> None:
    cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    (tmp_path / "a.json").write_text(damage)
    assert open_images(tmp_path, "a", "key") is None
    assert np.array_equal(cached_images(tmp_path, "a", "key", SHAPE, in_chunks), IMAGES)


def test_a_missing_array_is_no_cache(tmp_path: Path) -> None:
    cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    next(tmp_path.glob("*.npy")).unlink()
    assert open_images(tmp_path, "a", "key") is None


def test_a_stale_cache_is_replaced_and_its_array_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = cached_images(tmp_path, "a", "old", SHAPE, in_chunks)
    with caplog.at_level(logging.INFO):
        new = cached_images(tmp_path, "a", "new", (64, 6, 6), lambda: [IMAGES[:64]])
    assert "stale" in caplog.text
    assert len(new) == 64
    assert len(list(tmp_path.glob("*.npy"))) == 1
    assert np.array_equal(old, IMAGES), "who has the old one open keeps it"


def test_two_caches_share_a_folder(tmp_path: Path) -> None:
    cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    cached_images(tmp_path, "b", "key", SHAPE, in_chunks)
    assert open_images(tmp_path, "a", "key") is not None


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Images]:
        yield IMAGES[:64]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_images(tmp_path, "a", "key", SHAPE, interrupted)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_rebuild_keeps_the_old_cache(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Images]:
        yield IMAGES[:64]
        raise KeyboardInterrupt

    cached_images(tmp_path, "a", "old", SHAPE, in_chunks)
    with pytest.raises(KeyboardInterrupt):
        cached_images(tmp_path, "a", "new", SHAPE, interrupted)
    assert np.array_equal(cached_images(tmp_path, "a", "old", SHAPE, never), IMAGES)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    dead, alive = 2**22 + 1, os.getpid()  # Linux numbers processes up to 2^22
    (tmp_path / f".a-key.npy.{dead}.partial").write_bytes(b"half")
    (tmp_path / f".a-other.npy.{alive}.partial").write_bytes(b"half")
    cached_images(tmp_path, "a", "key", SHAPE, in_chunks)
    assert [path.name for path in tmp_path.glob("*.partial")] == [f".a-other.npy.{alive}.partial"]


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        cached_images(tmp_path / "file", "a", "key", SHAPE, in_chunks)


def test_the_description_holds_no_file_names(tmp_path: Path) -> None:
    cached_images(tmp_path, "a", fingerprint("patient00017/view1.png"), SHAPE, in_chunks)
    description = json.loads((tmp_path / "a.json").read_text())
    assert set(description) == {"version", "key", "sha256"}
    assert "patient" not in (tmp_path / "a.json").read_text()


def test_a_fingerprint_changes_with_name_size_time_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"1234")
    first = fingerprint(file_stamp(path), ImageForm(size=8))
    assert first == fingerprint(file_stamp(path), ImageForm(size=8))
    assert first != fingerprint(file_stamp(path), ImageForm(size=9))
    path.write_bytes(b"12345")
    assert first != fingerprint(file_stamp(path), ImageForm(size=8))


def written(folder: Path) -> list[ImageFile]:
    files = []
    for i, pixels in enumerate(IMAGES[:70]):
        Image.fromarray(pixels).save(folder / f"{i}.png")
        files.append(ImageFile(folder / f"{i}.png", f"table.csv, row {i + 2}"))
    return files


def test_decoding_keeps_the_order_whatever_the_number_of_threads(tmp_path: Path) -> None:
    files = written(tmp_path)
    steps: list[tuple[int, int]] = []
    form = ImageForm(size=6)
    one = np.concatenate(
        list(decoded(files, form, 1, lambda done, total: steps.append((done, total))))
    )
    four = np.concatenate(list(decoded(files, form, 4)))
    assert np.array_equal(one, IMAGES[:70])
    assert np.array_equal(four, IMAGES[:70])
    assert steps == [(64, 70), (70, 70)]


def test_all_unreadable_files_are_named_at_once_and_no_cache_is_made(tmp_path: Path) -> None:
    files = written(tmp_path)
    (tmp_path / "3.png").write_bytes(b"")
    (tmp_path / "66.png").unlink()
    cache = tmp_path / "cache"
    with pytest.raises(DataError) as caught:
        cached_images(cache, "a", "key", (70, 6, 6), lambda: decoded(files, ImageForm(size=6)))
    assert [problem.where for problem in caught.value.problems] == [
        "table.csv, row 5",
        "table.csv, row 68",
    ]
    assert list(cache.iterdir()) == []
