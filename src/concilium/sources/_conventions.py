"""What the columns of a table mean: by a collection's convention, or by the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from concilium.foundation.errors import DataError, Problem
from concilium.labels.schema import fold
from concilium.sources._covariates import AGE, HOSPITAL, SEX, VIEW
from concilium.sources._table_file import TableFile


@dataclass(frozen=True)
class Columns:
    """Which column holds what; "" where there is none.

    ``label_list`` holds lists of findings; without it each label has a column. ``patient_pattern``
    finds the patient in ``patient``. ``covariates`` maps our name to the column;
    ``projection`` says "AP" or "PA" of the images that ``covariates["view"]`` calls frontal.
    """

    title: str = ""
    vocabulary: str = ""
    image: str = ""
    label_list: str = ""
    patient: str = ""
    patient_pattern: str = ""
    projection: str = ""
    covariates: Mapping[str, str] = field(default_factory=dict)

    def not_labels(self) -> tuple[str, ...]:
        """The columns that hold something else than labels."""
        return (
            self.image,
            self.label_list,
            self.patient,
            self.projection,
            *self.covariates.values(),
        )


NIH = Columns(
    title="NIH ChestX-ray14 table",
    vocabulary="nih",
    image="Image Index",
    label_list="Finding Labels",
    patient="Patient ID",
    covariates={AGE: "Patient Age", SEX: "Patient Gender", VIEW: "View Position"},
)
CHEXPERT = Columns(
    title="CheXpert table",
    vocabulary="chexpert",
    image="Path",
    patient="Path",
    patient_pattern=r"patient\d+",
    projection="AP/PA",
    covariates={AGE: "Age", SEX: "Sex", VIEW: "Frontal/Lateral"},
)

# Columns by which a table is recognised; the others may be missing.
_MARKS = (
    (NIH, ("Image Index", "Finding Labels", "Patient ID")),
    (CHEXPERT, ("Path", "Frontal/Lateral", "AP/PA")),
)
# Names (folded) under which columns of other tables are found without a setting.
_IMAGE = ("image", "imageindex", "imageid", "imagename", "imagepath", "file", "filename", "path")
_PATIENT = ("patient", "patientid", "subject", "subjectid")
_COVARIATES = {
    AGE: ("age", "patientage"),
    SEX: ("sex", "gender", "patientsex", "patientgender"),
    VIEW: ("view", "viewposition"),
    HOSPITAL: ("hospital", "site", "institution"),
}


def columns_of(
    table: TableFile, image: str, label_list: str, patient: str, covariates: Mapping[str, str]
) -> Columns:
    """The columns of a table: a native convention or the usual names, then what was set.

    Raises DataError for a column that was set and is not there, and where none names the images.
    """
    columns = _recognised(table)
    given = {"image_column": image, "label_column": label_list, "patient_column": patient}
    given |= {f"covariates.{name}": column for name, column in covariates.items()}
    problems = [
        problem
        for setting, column in given.items()
        if column and (problem := table.missing(column, setting))
    ]
    if not image and not columns.image:
        what = f"no column is known to name the images, among {', '.join(table.columns)}"
        problems.append(Problem(table.name, what, "set `image_column`"))
    if problems:
        raise DataError(problems)
    merged = {**columns.covariates, **covariates}
    return replace(
        columns,
        image=image or columns.image,
        label_list=label_list or columns.label_list,
        patient=patient or columns.patient,
        patient_pattern="" if patient else columns.patient_pattern,
        projection="" if VIEW in covariates else columns.projection,
        covariates={name: column for name, column in merged.items() if column},
    )


def patients(table: TableFile, columns: Columns) -> tuple[list[str], list[Problem]]:
    """The patient of each row, and the rows that have none. Without a column, the row itself."""
    if not columns.patient:
        return [str(row) for row in table.rows], []
    cells: Sequence[str] = table.columns[columns.patient]
    if columns.patient_pattern:
        pattern = re.compile(columns.patient_pattern)
        cells = [match[0] if (match := pattern.search(cell)) else "" for cell in cells]
    remedy = "fill it in: a patient in two parts of the data would spoil the evaluation"
    problems = [
        Problem(table.where(i), f"no patient in column {columns.patient!r}", remedy)
        for i, cell in enumerate(cells)
        if not cell
    ]
    return list(cells), problems


def cells_of(table: TableFile, columns: Columns, name: str) -> Sequence[str]:
    """The cells of a covariate; a view is AP, PA or LATERAL where the table says so."""
    cells = table.columns[columns.covariates[name]]
    if name != VIEW:
        return cells
    if columns.projection:
        projections = table.columns[columns.projection]
        cells = [
            projection if view.casefold() == "frontal" and projection else view
            for view, projection in zip(cells, projections, strict=True)
        ]
    return [cell.upper() for cell in cells]


def _recognised(table: TableFile) -> Columns:
    for columns, marks in _MARKS:
        if all(mark in table.columns for mark in marks):
            there = {
                n: column for n, column in columns.covariates.items() if column in table.columns
            }
            return replace(columns, covariates=there)
    covariates = {name: _named(table, usual) for name, usual in _COVARIATES.items()}
    return Columns(
        image=_named(table, _IMAGE),
        patient=_named(table, _PATIENT),
        covariates={name: column for name, column in covariates.items() if column},
    )


def _named(table: TableFile, usual: Sequence[str]) -> str:
    """The first column with one of the usual names, or ""."""
    return next((column for column in table.columns if fold(column) in usual), "")
