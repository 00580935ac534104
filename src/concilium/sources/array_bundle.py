"""One or more .npz archives of images, labels, patients and covariates.

Arrays: ``images`` (N, H, W) uint8 (also uint16, floating point, or (N, H, W, 3) uint8), ``labels``
(N, L) of 1, 0, −1 (uncertain) and −2 or NaN (unknown), ``label_names`` (L,), ``patient`` (N,), and
covariates (N,).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset
from concilium.data.image_cache import Images, cached_images, file_stamp, fingerprint
from concilium.data.images import ImageForm, Resize, Window
from concilium.foundation.errors import DataError, Problem
from concilium.sources._duplicates import duplicate_notes, first_occurrences
from concilium.sources._image_arrays import form_of, image_shape, prepared
from concilium.sources._label_arrays import COVARIATES, rows_of, table_of
from concilium.sources._label_names import label_notes
from concilium.sources._npz import Archive, labelled_rows, opened
from concilium.sources.contract import Source


@dataclass(frozen=True)
class ArrayBundle(Source):
    """Images and labels from .npz archives, one after the other.

    ``files``: the archives. An image that has occurred before, in the same file or another, is
    dropped, and the first kept with its labels; the report counts them, and those whose labels
    disagree. The same: equal bytes, or an equal name (array ``image``) and pixels that differ by at
    most 1. The same patient identifier in two files is the same patient.
    ``vocabulary``, ``labels``: which labels, under which names; by default all that the files name.
    ``covariates``: which arrays to keep beside age, sex, view and hospital.
    ``image_size``: None keeps the pixels; ``resize`` and ``window``: see ``data.images``.
    """

    files: tuple[Path, ...]
    vocabulary: str = ""
    labels: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    image_size: int | None = None
    resize: Resize = "crop"
    window: Window = "percentile"

    def __post_init__(self) -> None:
        if not self.files:
            raise DataError(Problem("files", "there are none", "name at least one .npz file"))
        _ = self._form

    def load(self, cache: Path) -> Dataset:
        archives = opened(self.files)
        for archive in archives:
            labelled_rows(archive, "images", "labels")
        columns = tuple(dict.fromkeys((*COVARIATES, *self.covariates)))
        parts = [rows_of(archive, self.labels, columns) for archive in archives]
        whole, notes = table_of(parts, self.vocabulary, self.labels)
        original = first_occurrences(archives)
        kept = original == np.arange(len(original))
        table = whole.take(np.flatnonzero(kept))
        title = f"image arrays, {len(table):,} images"
        notes = {
            **duplicate_notes(whole, original),
            **notes,
            **label_notes(table.schema, table.states),
        }
        return Dataset(table, self._images(archives, kept, cache), title, notes=notes)

    @property
    def _form(self) -> ImageForm:
        size = 1 if self.image_size is None else self.image_size
        return ImageForm(size, self.resize, self.window)

    def _images(
        self, archives: Sequence[Archive], kept: npt.NDArray[np.bool_], cache: Path
    ) -> Images:
        forms = [form_of(archive, "images", self.image_size, self._form) for archive in archives]
        shape = _one_shape(archives, forms)
        ends = np.cumsum([archive.shape("images")[0] for archive in archives])[:-1]

        def chunks() -> Iterator[Images]:
            for archive, form, rows in zip(archives, forms, np.split(kept, ends), strict=True):
                yield from prepared(archive, "images", form, rows)

        origin = [str(path.resolve()) for path in self.files]
        return cached_images(
            cache,
            f"arrays-{fingerprint(origin, self._form)[:12]}",
            fingerprint([file_stamp(path) for path in self.files], forms),
            (int(kept.sum()), *shape),
            chunks,
        )


def _one_shape(archives: Sequence[Archive], forms: Sequence[ImageForm | None]) -> tuple[int, int]:
    shapes = {
        archive.name: (form.size, form.size) if form else image_shape(archive, "images")
        for archive, form in zip(archives, forms, strict=True)
    }
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(f"{name}: {height} x {width}" for name, (height, width) in shapes.items())
        raise DataError(Problem("files", f"images differ in size ({sizes})", "set `image_size`"))
    return next(iter(shapes.values()))
