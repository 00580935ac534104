"""A folder of PNG or JPG images and a CSV or TSV table.

The native tables of NIH ChestX-ray14 (``Image Index``, ``Finding Labels``, …) and CheXpert
(``Path``, ``Frontal/Lateral``, label columns of 1, 0, −1, blank) are recognised by their columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset
from concilium.data.image_cache import (
    ImageFile,
    cached_images,
    decoded,
    file_stamp,
    fingerprint,
    unreadable,
)
from concilium.data.images import ImageForm, Resize, Window
from concilium.data.table import ExamTable, patient_codes
from concilium.foundation.checks import one_of
from concilium.foundation.errors import DataError, Problem
from concilium.sources._conventions import Columns, cells_of, columns_of, patients
from concilium.sources._covariates import Column, covariate
from concilium.sources._image_paths import LocatedImages, locate
from concilium.sources._label_cells import ReadStates, states_of_columns, states_of_lists
from concilium.sources._label_names import LabelNames, label_names, label_notes
from concilium.sources._table_file import TableFile, find_table, read_table
from concilium.sources.contract import Source

# Where the table has problems, so many images are still read, to report theirs with them.
_TRIED = 1000


@dataclass(frozen=True)
class ImageFolder(Source):
    """Images and a table, one row an image; the exams keep the order of the rows.

    ``folder``: of the images. ``table``: by default the only CSV or TSV in it (also ``.gz``).
    ``image_column``, ``patient_column``, ``covariates`` (our name → column; age, sex, view and
    hospital are used): needed only where the names of the columns do not say it.
    ``label_column``: a column of lists such as ``Effusion|Mass`` (``separator``); without it every
    label has a column of 1, 0, −1 (uncertain) and blank (unknown).
    ``vocabulary`` (nih, chestmnist, chexpert, padchest, vindr), ``labels``, or both: which labels.
    ``aliases``: other name → label. ``no_finding``: where "No Finding" is 1, blank labels are
    "unknown" or "absent". ``missing_images``: "refuse", or "drop" their rows and count them.
    ``image_size`` (pixels), ``resize``, ``window``: see ``data.images``.
    """

    folder: Path
    table: Path | None = None
    image_column: str = ""
    label_column: str = ""
    separator: str = "|"
    patient_column: str = ""
    vocabulary: str = ""
    labels: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    covariates: Mapping[str, str] = field(default_factory=dict)
    no_finding: Literal["unknown", "absent"] = "unknown"
    missing_images: Literal["refuse", "drop"] = "refuse"
    image_size: int = 64
    resize: Resize = "crop"
    window: Window = "percentile"

    def __post_init__(self) -> None:
        one_of(("unknown", "absent"), no_finding=self.no_finding)
        one_of(("refuse", "drop"), missing_images=self.missing_images)
        _ = self._form

    def load(self, cache: Path) -> Dataset:
        path = find_table(self.folder, self.table)
        table = read_table(path)
        columns = columns_of(
            table, self.image_column, self.label_column, self.patient_column, self.covariates
        )
        labels = self._labels(table, columns)
        read = self._states(table, columns, labels)
        identifiers, nobody = patients(table, columns)
        located = locate(
            self.folder, table, columns.image, identifiers if columns.patient else None
        )
        self._refuse([*read.problems, *nobody, *located.problems], located)
        kept = np.flatnonzero([file is not None for file in located.files])
        described, notes = _covariates(table, columns, kept)
        codes = patient_codes([identifiers[row] for row in kept])
        exams = ExamTable(labels.schema, read.states[kept], codes, described)
        files = [file for file in located.files if file is not None]
        title = f"{columns.title or 'image folder'}, {len(files):,} images"
        notes = self._notes(exams, columns, located) | dict(read.notes) | notes
        return Dataset(exams, self._images(files, path, cache), title, notes=notes)

    @property
    def _form(self) -> ImageForm:
        return ImageForm(self.image_size, self.resize, self.window)

    def _labels(self, table: TableFile, columns: Columns) -> LabelNames:
        labels = label_names(self.vocabulary or columns.vocabulary, self.labels, self.aliases)
        if labels is None:
            what = "it is not said which labels there are"
            raise DataError(Problem(table.name, what, "set `vocabulary` or `labels`"))
        return labels

    def _states(self, table: TableFile, columns: Columns, labels: LabelNames) -> ReadStates:
        if columns.label_list:
            return states_of_lists(table, columns.label_list, self.separator, labels)
        others = columns.not_labels()
        absent = self.no_finding == "absent"
        return states_of_columns(table, labels, others, bool(self.labels), absent)

    def _refuse(self, problems: list[Problem], located: LocatedImages) -> None:
        """Raise DataError with all problems; with any, also those of reading the first images."""
        if self.missing_images == "refuse":
            problems += located.missing
        files = [file for file in located.files if file is not None]
        if problems:
            raise DataError(problems + unreadable(files[:_TRIED], self._form))
        if not files:
            what = "none of the images of the table is there"
            raise DataError(Problem(str(self.folder), what, "check `folder` and `image_column`"))

    def _images(
        self, files: Sequence[ImageFile], table: Path, cache: Path
    ) -> npt.NDArray[np.uint8]:
        origin = [str(self.folder.resolve()), str(table.resolve()), self._form]
        below = [str(file.path.relative_to(self.folder)) for file in files]
        stamps = [file_stamp(file.path) for file in files]
        return cached_images(
            cache,
            f"images-{fingerprint(*origin)[:12]}",
            fingerprint(below, stamps, self._form),
            (len(files), self.image_size, self.image_size),
            lambda: decoded(files, self._form),
        )

    def _notes(self, exams: ExamTable, columns: Columns, located: LocatedImages) -> dict[str, str]:
        notes = {"table": columns.title or "one column a label"}
        if columns.label_list and not columns.title:
            notes["table"] = "lists of findings"
        notes["images as read"] = self._form.describe()
        if not columns.patient:
            notes["patients"] = "no patient column: every image counts as a patient of its own"
        if located.missing:
            notes["rows dropped, image missing"] = f"{len(located.missing):,}"
        return notes | label_notes(exams.schema, exams.states)


def _covariates(
    table: TableFile, columns: Columns, rows: npt.NDArray[np.intp]
) -> tuple[dict[str, Column], dict[str, str]]:
    found: dict[str, Column] = {}
    notes: dict[str, str] = {}
    for name in columns.covariates:
        cells = cells_of(table, columns, name)
        found[name], said = covariate(name, [cells[row] for row in rows])
        notes |= said
    return found, notes
