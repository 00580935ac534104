"""Images of archives: checked, digested and brought into form, some at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.image_cache import Images
from concilium.data.images import ImageForm, prepare_array
from concilium.foundation.errors import DataError, Problem
from concilium.sources._npz import Archive


def image_shape(archive: Archive, name: str) -> tuple[int, int]:
    """Height and width of the images (N, H, W) or (N, H, W, 3) of an archive."""
    shape = archive.shape(name)
    gray, colour = len(shape) == 3, len(shape) == 4 and shape[-1] in {3, 4}
    if not (gray or colour) or 0 in shape:
        what = f"{name!r} has shape {shape}"
        raise DataError(Problem(archive.name, what, "give images (N, H, W) or (N, H, W, 3)"))
    return shape[1], shape[2]


def digests(archive: Archive, name: str) -> list[bytes]:
    """A digest of the pixels of each image, as stored.

    Raises DataError with every image that has a NaN or infinite pixel.
    """
    found: list[bytes] = []
    problems = []
    for chunk in archive.chunks(name):
        if chunk.dtype.kind == "f":
            finite = np.isfinite(chunk).all(axis=tuple(range(1, chunk.ndim)))
            problems += [
                Problem(
                    archive.where(len(found) + int(row)),
                    "has NaN or infinite pixels",
                    "leave it out",
                )
                for row in np.flatnonzero(~finite)
            ]
        kind = f"{chunk.dtype}{chunk.shape[1:]}".encode()
        found += [_digest(kind, image) for image in chunk]
    if problems:
        raise DataError(problems)
    return found


def prepared(
    archive: Archive, name: str, form: ImageForm | None, kept: npt.NDArray[np.bool_]
) -> Iterator[Images]:
    """The images that are kept, in order, in chunks (n, H, W) uint8.

    Without a ``form``, 8-bit gray images are as they are. Raises DataError with all problems.
    """
    problems: list[Problem] = []
    start = 0
    for chunk in archive.chunks(name):
        rows = np.flatnonzero(kept[start : start + len(chunk)])
        if form is None:
            images = chunk[rows]
        else:
            images, wrong = _in_form(archive, chunk, rows, start, form)
            problems += wrong
        start += len(chunk)
        if len(rows) and not problems:
            yield images
    if problems:
        raise DataError(problems)


def form_of(
    archive: Archive, name: str, image_size: int | None, form: ImageForm
) -> ImageForm | None:
    """The form that the images of an archive need, or None where they can stay as they are."""
    height, width = image_shape(archive, name)
    plain = archive.dtype(name) == np.uint8 and len(archive.shape(name)) == 3
    if image_size is None and height != width and not plain:
        what = f"images of {height} x {width} pixels are not square"
        raise DataError(Problem(archive.name, what, "set `image_size`"))
    size = image_size or height
    if plain and (image_size is None or height == width == size):
        return None
    return replace(form, size=size)


def _in_form(
    archive: Archive,
    chunk: npt.NDArray[Any],
    rows: npt.NDArray[np.intp],
    start: int,
    form: ImageForm,
) -> tuple[Images, list[Problem]]:
    images = np.zeros((len(rows), form.size, form.size), np.uint8)
    problems = []
    for i, row in enumerate(rows):
        try:
            images[i] = prepare_array(chunk[row], form)
        except DataError as error:
            where = archive.where(start + int(row))
            problems += [replace(problem, where=where) for problem in error.problems]
    return images, problems


def _digest(kind: bytes, image: npt.NDArray[Any]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16, key=kind[:64]).digest()
