"""Images decoded once, kept as one checksummed uint8 array, read memory-mapped.

A cache called NAME is two files: ``NAME-KEY.npy``, the images (N, S, S), and ``NAME.json``, which
holds the key (what the images were made from) and the SHA-256 of the array's file. The array is
written under a temporary name, flushed, and renamed, and the JSON last in the same way: after a
crash the cache is the old one, the new one, or none. Neither holds names of image files or
patients. The checksum is verified when the cache is first opened and whenever the array's file has
changed since; a third file, ``NAME.verified.json``, remembers it (``data.verification``).
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from concilium.data.images import ImageForm, bombs_refused, read_image
from concilium.data.verification import is_intact
from concilium.foundation.errors import DataError, Problem
from concilium.foundation.files import write_json

VERSION = 1
"""Goes into every key. Raise it when the same file would give other pixels."""

Images = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

_THREADS = min(4, os.cpu_count() or 1)  # reading and resizing run outside the interpreter's lock
_CHUNK = 64  # images in memory at a time: 3 MB at 224 pixels

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFile:
    """An image file, and where it stands in the table ("table.csv, row 3")."""

    path: Path
    where: str


def fingerprint(*parts: object) -> str:
    """SHA-256 over plain values; a cache is stale when the fingerprint of its origin differs."""
    text = json.dumps([VERSION, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_stamp(path: Path) -> tuple[str, int, int]:
    """Name, size in bytes and time of the last change in nanoseconds.

    This is what tells a changed file from an unchanged one: digesting 45 GB of radiographs on every
    start would take minutes. A file changed without a change of size and of time is not noticed.
    """
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def cached_images(
    folder: Path,
    name: str,
    key: str,
    shape: tuple[int, int, int],
    chunks: Callable[[], Iterable[Images]],
) -> Images:
    """Images (N, H, W), read-only and memory-mapped, from the cache or made by ``chunks``.

    ``chunks()`` gives them in order, some at a time, and is called only where there is no usable
    cache of this name and key. What it raises is raised; nothing half-written remains.
    """
    found = open_images(folder, name, key)
    if found is not None:
        return found
    _store(folder, name, key, shape, chunks)
    stored = open_images(folder, name, key)
    if stored is None:
        what = "the image cache cannot be read back"
        raise DataError(Problem(str(folder), what, "check the disk, or choose another folder"))
    return stored


def open_images(folder: Path, name: str, key: str) -> Images | None:
    """The cached images as a read-only memory map, or None where they are not, stale or damaged.

    Stale and damaged caches are logged; the next ``cached_images`` replaces them.
    """
    description = _describe(folder / f"{name}.json")
    if description is None:
        return None
    if description.get("key") != key:
        _log.info("image cache %s is stale: the files or settings changed; it is rebuilt", name)
        return None
    array = folder / _array_name(name, key)
    verified = folder / f"{name}.verified.json"
    if not is_intact(array, str(description.get("sha256")), verified):
        _log.warning("image cache %s is damaged: its checksum differs; it is rebuilt", name)
        return None
    images: Images = np.load(array, mmap_mode="r", allow_pickle=False)
    return images


def decoded(
    files: Sequence[ImageFile],
    form: ImageForm,
    threads: int = _THREADS,
    progress: Progress | None = None,
) -> Iterator[Images]:
    """Read image files in order, in chunks (n, S, S), by a few threads; memory is bounded.

    ``progress(done, total)`` is called after each chunk. All files are read before DataError is
    raised with every problem found. The result does not depend on the number of threads.
    """
    problems: list[Problem] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            with bombs_refused():
                results = list(pool.map(lambda file: _read(file, form), chunk))
            problems += [result for result in results if isinstance(result, Problem)]
            if progress is not None:
                progress(start + len(chunk), len(files))
            if not problems:
                yield np.stack([image for image in results if not isinstance(image, Problem)])
    if problems:
        raise DataError(problems)


def unreadable(files: Sequence[ImageFile], form: ImageForm) -> list[Problem]:
    """The problems of reading these files, without keeping the images."""
    try:
        for _ in decoded(files, form):
            pass
    except DataError as error:
        return list(error.problems)
    return []


def _read(file: ImageFile, form: ImageForm) -> Images | Problem:
    try:
        return read_image(file.path, form)
    except DataError as error:
        return replace(error.problems[0], where=file.where)


def _store(
    folder: Path,
    name: str,
    key: str,
    shape: tuple[int, int, int],
    chunks: Callable[[], Iterable[Images]],
) -> None:
    array = folder / _array_name(name, key)
    partial = folder / f".{array.name}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder, name)
        try:
            with partial.open("wb") as file:
                digest = _write_array(file, shape, chunks())
            partial.replace(array)
        finally:
            partial.unlink(missing_ok=True)
        write_json(folder / f"{name}.json", {"version": VERSION, "key": key, "sha256": digest})
    except OSError as error:
        what = f"the image cache cannot be written ({error.strerror or error})"
        remedy = "free some space, or choose another folder for the run"
        raise DataError(Problem(str(folder), what, remedy)) from None
    for old in folder.glob(f"{name}-*.npy"):
        if old != array:
            old.unlink(missing_ok=True)


def _remove_leftovers(folder: Path, name: str) -> None:
    """Remove the parts that killed processes left; those of living ones stay."""
    if os.name != "posix":
        return
    for part in folder.glob(f".{name}-*.partial"):
        try:
            os.kill(int(part.name.split(".")[-2]), 0)  # signal 0 only asks whether it lives
        except (ProcessLookupError, OverflowError):
            part.unlink(missing_ok=True)
        except PermissionError:
            continue  # it lives, and is somebody else's


def _write_array(file: BinaryIO, shape: tuple[int, int, int], chunks: Iterable[Images]) -> str:
    """Write a .npy file chunk by chunk, flush it to the disk, and give the SHA-256 it should have.

    It is that of what was handed over: what the disk made of it is verified on opening.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    digest = hashlib.sha256(header.getvalue())
    file.write(header.getvalue())
    count = 0
    for chunk in chunks:
        assert chunk.dtype == np.uint8 and chunk.shape[1:] == shape[1:], chunk.shape
        content = np.ascontiguousarray(chunk).data
        digest.update(content)
        file.write(content)
        count += len(chunk)
    assert count == shape[0], f"{count} images for {shape}"
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def _describe(path: Path) -> dict[str, Any] | None:
    """The JSON beside the array, or None where there is none or it is damaged."""
    try:
        description = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        _log.warning("image cache %s is damaged: its description; it is rebuilt", path.stem)
        return None
    return description if isinstance(description, dict) else None


def _array_name(name: str, key: str) -> str:
    return f"{name}-{key[:12]}.npy"
