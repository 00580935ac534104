"""MedMNIST archives, such as ChestMNIST: ``{train,val,test}_{images,labels}`` in one .npz.

J. Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 2023, arXiv 2110.14795.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from concilium.data.dataset import NO_PATIENTS, PATIENTS, Dataset
from concilium.data.image_cache import Images, cached_images, file_stamp, fingerprint
from concilium.data.images import ImageForm, Resize
from concilium.data.table import ExamTable
from concilium.foundation.errors import DataError, Problem
from concilium.labels.schema import LabelSchema
from concilium.labels.states import State
from concilium.labels.vocabularies import vocabulary
from concilium.sources._image_arrays import form_of, image_shape, prepared
from concilium.sources._label_arrays import label_states
from concilium.sources._label_names import label_notes
from concilium.sources._npz import Archive, labelled_rows
from concilium.sources.contract import Source

_PARTS = {"train": "train", "val": "validation", "test": "test"}
_CHEST_LABELS = 14


@dataclass(frozen=True)
class MedMNIST(Source):
    """Training, validation and test images, in this order; ``part`` is a covariate that says which.

    ``file``: the .npz, of any size of pixels, gray or colour. ``labels``: names of the columns, in
    order; by default those of ChestMNIST where there are 14. ``image_size``: None keeps the
    pixels. MedMNIST tells no patients, so every image counts as a patient of its own, and no split
    can keep real patients apart.
    """

    file: Path
    labels: tuple[str, ...] = ()
    image_size: int | None = None
    resize: Resize = "crop"

    def __post_init__(self) -> None:
        _ = self._form

    def load(self, cache: Path) -> Dataset:
        archive = Archive.open(self.file)
        counts = {part: labelled_rows(archive, *_arrays(part)) for part in _PARTS}
        states = np.concatenate([label_states(archive, _arrays(part)[1]) for part in _PARTS])
        schema = self._schema(archive, states.shape[1])
        if (states < State.ABSENT).any():
            raise DataError(Problem(archive.name, "has labels other than 0 and 1"))
        parts = np.repeat(list(_PARTS.values()), list(counts.values()))
        table = ExamTable(schema, states, np.arange(len(states)), {"part": parts})
        notes = {
            PATIENTS: f"{NO_PATIENTS}; MedMNIST gives none, and one patient's images may stand in "
            "several parts of the data",
        }
        title = f"MedMNIST archive, {len(states):,} images"
        images = self._images(archive, len(states), cache)
        return Dataset(table, images, title, notes=notes | label_notes(schema, states))

    @property
    def _form(self) -> ImageForm:
        return ImageForm(1 if self.image_size is None else self.image_size, self.resize)

    def _schema(self, archive: Archive, count: int) -> LabelSchema:
        if not self.labels and count == _CHEST_LABELS:
            return vocabulary("chestmnist")
        if len(self.labels) == count > 1:
            return LabelSchema(self.labels)
        what = f"has {count} label columns, and {len(self.labels)} names are given"
        remedy = "set `labels` to one name a column"
        if count == 1:
            remedy = "this is one class an image, not several labels: take ChestMNIST"
        raise DataError(Problem(archive.name, what, remedy))

    def _images(self, archive: Archive, count: int, cache: Path) -> Images:
        names = [_arrays(part)[0] for part in _PARTS]
        forms = [form_of(archive, name, self.image_size, self._form) for name in names]
        shapes = {image_shape(archive, name) for name in names}
        if len(shapes) > 1 and self.image_size is None:
            raise DataError(Problem(archive.name, f"has images of sizes {sorted(shapes)}"))
        height, width = (forms[0].size,) * 2 if forms[0] else image_shape(archive, names[0])

        def chunks() -> Iterator[Images]:
            for name, form in zip(names, forms, strict=True):
                yield from prepared(archive, name, form, np.ones(archive.shape(name)[0], bool))

        return cached_images(
            cache,
            f"medmnist-{fingerprint(str(self.file.resolve()), self.image_size, self.resize)[:12]}",
            fingerprint(file_stamp(self.file), forms),
            (count, height, width),
            chunks,
        )


def _arrays(part: str) -> tuple[str, str]:
    return f"{part}_images", f"{part}_labels"
