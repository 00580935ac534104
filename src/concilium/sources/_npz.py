"""Archives of arrays (.npz), read without pickle and, where they are large, some rows at a time."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from concilium.foundation.checks import suggestion
from concilium.foundation.errors import DataError, Problem

Array = npt.NDArray[Any]

_ROWS = 256  # images in memory at a time


@dataclass(frozen=True)
class Archive:
    """An .npz file; ``names`` are its arrays. Every failure is a DataError with file and array."""

    path: Path
    names: Sequence[str]

    @staticmethod
    def open(path: Path) -> Archive:
        """List an archive. Raises DataError where it is missing or no archive."""
        if not path.is_file():
            raise DataError(Problem(str(path), "there is no such file", "check the path"))
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
        except (zipfile.BadZipFile, OSError):
            what = "is no .npz archive, or is truncated"
            raise DataError(
                Problem(path.name, what, "write it with numpy.savez, or copy it again")
            ) from None
        return Archive(path, names)

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def where(self, row: int) -> str:
        """The place of a row in messages; rows of arrays are counted from 0."""
        return f"{self.name}, row {row} (from 0)"

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, from its header alone."""
        with self._opened(name) as (_, shape, _, _):
            return shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The type of an array, from its header alone."""
        with self._opened(name) as (_, _, _, dtype):
            return dtype

    def array(self, name: str) -> Array:
        """A whole array."""
        with self._opened(name) as (file, shape, fortran, dtype):
            content = file.read()
        values = np.frombuffer(content, dtype)
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)

    def chunks(self, name: str) -> Iterator[Array]:
        """An array some rows at a time, in order; memory does not grow with its length."""
        with self._opened(name) as (file, shape, fortran, dtype):
            if fortran:  # the rows of such a file are not together
                yield self.array(name)
                return
            row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
            for start in range(0, shape[0], _ROWS):
                rows = min(_ROWS, shape[0] - start)
                content = file.read(rows * row_bytes)
                yield np.frombuffer(content, dtype).reshape(rows, *shape[1:])

    @contextmanager
    def _opened(
        self, name: str
    ) -> Iterator[tuple[IO[bytes], tuple[int, ...], bool, np.dtype[Any]]]:
        """The content of an array behind its header, its shape, order and type."""
        if name not in self.names:
            raise DataError(
                Problem(self.name, f"holds no array {name!r}", suggestion(name, self.names))
            )
        where = f"{self.name}, array {name!r}"
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                shape, fortran, dtype = _header(file)
                if dtype.hasobject:
                    remedy = "save it as numbers or text: pickled objects can run code"
                    raise DataError(Problem(where, "holds Python objects", remedy))
                stated = dtype.itemsize * int(np.prod(shape, dtype=object))
                if archive.getinfo(f"{name}.npy").file_size - file.tell() != stated:
                    raise DataError(Problem(where, f"is not as long as its shape {shape} says"))
                yield file, shape, fortran, dtype
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError) as error:
            what = f"is damaged ({type(error).__name__})"
            raise DataError(Problem(where, what, "copy or write it again")) from None


def opened(files: Sequence[Path]) -> list[Archive]:
    """All archives. Raises DataError with every one that cannot be opened."""
    archives: list[Archive] = []
    problems: list[Problem] = []
    for file in files:
        try:
            archives.append(Archive.open(file))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return archives


def labelled_rows(archive: Archive, array: str, labels: str) -> int:
    """The number of rows that an array and its labels (N, L) share. Raises DataError."""
    rows, label_shape = archive.shape(array), archive.shape(labels)
    if not rows or len(label_shape) != 2 or rows[0] != label_shape[0]:
        what = f"{array!r} has shape {rows} and {labels!r} {label_shape}"
        raise DataError(Problem(archive.name, what, f"{labels!r} must be (N, L), a row an image"))
    if rows[0] == 0:
        raise DataError(Problem(archive.name, f"{array!r} holds no rows"))
    return rows[0]


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
