"""A folder of PNG or JPG images and a CSV or TSV table.

The native tables of NIH ChestX-ray14 (``Image Index``, ``Finding Labels``, …) and CheXpert
(``Path``, ``Frontal/Lateral``, label columns of 1, 0, −1, blank) are recognised by their columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import NO_PATIENTS, PATIENTS, Dataset
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
from concilium.labels.vocabularies import is_no_finding
from concilium.sources._bit_depth import num_deep
from concilium.sources._conventions import (
    Columns,
    cells_of,
    columns_of,
    patients,
    without_patients,
)
from concilium.sources._covariates import Column, covariate
from concilium.sources._image_paths import LocatedImages, locate
from concilium.sources._label_cells import ReadStates, states_of_columns, states_of_lists
from concilium.sources._label_inference import (
    has_label_columns,
    inferred,
    label_columns,
    list_column,
)
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
    ``patients``: "by_column", or "one_per_image" for a table that names none: every image is then
    taken as a patient of its own, and every proof and report says so.
    ``label_column``: a column of lists such as ``Effusion|Mass`` (``separator``); without it every
    label has a column of 1, 0, −1 (uncertain) and blank (unknown), or of true, false, yes, no.
    ``vocabulary`` (nih, chestmnist, chexpert, padchest, vindr), ``labels``, or both: which labels;
    by default all columns that hold only values of labels, or all names of the lists.
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
    patients: Literal["by_column", "one_per_image"] = "by_column"
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
        one_of(("by_column", "one_per_image"), patients=self.patients)
        if self.patients == "one_per_image" and self.patient_column:
            what = f'patient_column={self.patient_column!r} contradicts patients="one_per_image"'
            raise DataError(Problem("", what, "remove one of them"))
        one_of(("unknown", "absent"), no_finding=self.no_finding)
        one_of(("refuse", "drop"), missing_images=self.missing_images)
        _ = self._form

    def load(self, cache: Path) -> Dataset:
        path = find_table(self.folder, self.table)
        table = read_table(path)
        columns = columns_of(
            table, self.image_column, self.label_column, self.patient_column, self.covariates
        )
        identifiers, nobody = self._patients(table, columns)
        columns, labels, inference = self._labels(table, columns, nobody)
        read = self._states(table, columns, labels)
        told = identifiers if columns.patient else None
        located = locate(self.folder, table, columns.image, told)
        self._refuse(table, [*read.problems, *nobody, *located.problems], located)
        kept = np.flatnonzero([file is not None for file in located.files])
        described, notes = _covariates(table, columns, kept)
        codes = patient_codes([identifiers[row] for row in kept])
        exams = ExamTable(labels.schema, read.states[kept], codes, described)
        files = [file for file in located.files if file is not None]
        title = f"{columns.title or 'image folder'}, {len(files):,} images"
        images, deep = self._images(files, path, cache)
        notes = {
            "table": _kind_of_table(columns),
            "images as read": self._form.describe(deep),
            **self._patient_notes(table, columns),
            **inference,
            **_unused(table, columns, labels),
            **_row_notes(located),
            **label_notes(exams.schema, exams.states),
            **read.notes,
            **notes,
        }
        return Dataset(exams, images, title, notes=notes)

    @property
    def _form(self) -> ImageForm:
        return ImageForm(self.image_size, self.resize, self.window)

    def _patients(self, table: TableFile, columns: Columns) -> tuple[list[str], list[Problem]]:
        """The patient of each row, and what is wrong; the rows themselves where a study says so."""
        if not columns.patient:
            rows = [str(row) for row in table.rows]
            stated = self.patients == "one_per_image"
            return rows, [] if stated else [
                without_patients(table, self._candidates(table, columns))
            ]
        found, problems = patients(table, columns)
        if self.patients == "one_per_image" and len(set(found)) < len(found):
            what = (
                f"column {columns.patient!r} names {len(set(found)):,} patients on {len(found):,}"
            )
            remedy = "remove the setting `patients`, or rename the column if it tells no patients"
            problems.append(Problem(table.name, f"{what} images, not one per image", remedy))
        return found, problems

    def _candidates(self, table: TableFile, columns: Columns) -> list[str]:
        """Columns that may name patients: filled in every row, with several values, no labels."""
        used = columns.not_labels()
        others = {*used, *label_columns(table, used), list_column(table, self.separator, used)}
        return [
            column
            for column, cells in table.columns.items()
            if not (column in others or is_no_finding(column) or "" in cells)
            and len(set(cells)) > 1
        ]

    def _labels(
        self, table: TableFile, columns: Columns, problems: Sequence[Problem]
    ) -> tuple[Columns, LabelNames, dict[str, str]]:
        """The labels, the columns with that of lists if there is one, and notes of what was found.

        Raises DataError with ``problems``, too, where nothing says which labels there are.
        """
        labels = label_names(self.vocabulary or columns.vocabulary, self.labels, self.aliases)
        if not columns.label_list and not has_label_columns(table, columns.not_labels(), labels):
            found = list_column(table, self.separator, columns.not_labels())
            columns = replace(columns, label_list=found)
        if labels is not None:
            return columns, labels, {}
        try:
            return columns, *inferred(table, columns, self.separator, self.aliases)
        except DataError as error:
            raise DataError([*error.problems, *problems]) from None

    def _states(self, table: TableFile, columns: Columns, labels: LabelNames) -> ReadStates:
        if columns.label_list:
            return states_of_lists(table, columns.label_list, self.separator, labels)
        others = columns.not_labels()
        absent = self.no_finding == "absent"
        return states_of_columns(table, labels, others, bool(self.labels), absent)

    def _refuse(self, table: TableFile, problems: list[Problem], located: LocatedImages) -> None:
        """Raise DataError with all problems; with any, also those of reading the first images."""
        if self.missing_images == "refuse":
            problems += located.missing
        files = [file for file in located.files if file is not None]
        if problems:
            problems += unreadable(files[:_TRIED], self._form)
            raise DataError(table.in_row_order(problems))
        if not files:
            what = "none of the images of the table is there"
            raise DataError(Problem(str(self.folder), what, "check `folder` and `image_column`"))

    def _images(
        self, files: Sequence[ImageFile], table: Path, cache: Path
    ) -> tuple[npt.NDArray[np.uint8], int]:
        """The images, and how many of them had more than 8 bits."""
        origin = [str(self.folder.resolve()), str(table.resolve()), self._form]
        below = [str(file.path.relative_to(self.folder)) for file in files]
        stamps = [file_stamp(file.path) for file in files]
        name = f"images-{fingerprint(*origin)[:12]}"
        key = fingerprint(below, stamps, self._form)
        shape = (len(files), self.image_size, self.image_size)
        images = cached_images(cache, name, key, shape, lambda: decoded(files, self._form))
        return images, num_deep(files, cache, name, key)

    def _patient_notes(self, table: TableFile, columns: Columns) -> dict[str, str]:
        if columns.patient:
            return {"column of the patients": columns.patient}
        return {PATIENTS: f'{NO_PATIENTS} (setting `patients = "one_per_image"`)'}


def _kind_of_table(columns: Columns) -> str:
    kind = f"lists of findings, column {columns.label_list!r}"
    return columns.title or (kind if columns.label_list else "one column a label")


def _unused(table: TableFile, columns: Columns, labels: LabelNames) -> dict[str, str]:
    """The note of the columns that nothing was taken from: one of them may have been meant."""
    used = {*columns.not_labels()}
    if not columns.label_list:
        used |= {c for c in table.columns if labels.is_known(c) or is_no_finding(c)}
    unused = [column for column in table.columns if column not in used]
    return {"columns not used": ", ".join(unused)} if unused else {}


def _row_notes(located: LocatedImages) -> dict[str, str]:
    notes = {
        "rows dropped, image missing": located.num_missing,
        "images in the folder without a row": located.num_unnamed,
    }
    return {what: f"{count:,}" for what, count in notes.items() if count}


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
