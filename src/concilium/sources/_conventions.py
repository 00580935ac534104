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
_IMAGE = (
    *("image", "imageindex", "imageid", "imagename", "imagefile", "imagefilename", "imagepath"),
    *("img", "file", "filename", "filepath", "path"),
)
PATIENT_NAMES = (
    *("patient", "patientid", "patientnumber", "patientno", "patientnr", "patientkey"),
    *("patientcode", "patientpseudonym", "pseudonym", "subject", "subjectid", "subjectnumber"),
    *("participant", "participantid", "person", "personid", "pid", "mrn", "medicalrecordnumber"),
    *("case", "caseid", "casenumber"),
)
"""Names (folded) of a column or an array of patients, the surest first."""
_COVARIATES = {
    AGE: ("age", "patientage", "ageyears"),
    SEX: ("sex", "gender", "patientsex", "patientgender"),
    VIEW: ("view", "viewposition"),
    HOSPITAL: (
        *("hospital", "hospitalid", "hospitalname", "site", "siteid", "institution"),
        *("institutionid", "institutionname", "centre", "center", "clinic"),
    ),
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
    """The patient of each row, and what is wrong; needs ``columns.patient``."""
    cells: Sequence[str] = table.columns[columns.patient]
    if columns.patient_pattern:
        pattern = re.compile(columns.patient_pattern)
        cells = [match[0] if (match := pattern.search(cell)) else "" for cell in cells]
    empty = [i for i, cell in enumerate(cells) if not cell]
    if not empty:
        return list(cells), []
    more = f" (and in {len(empty) - 1:,} more rows)" if len(empty) > 1 else ""
    what = f"no patient in column {columns.patient!r}{more}"
    remedy = "fill it in: a patient in two parts of the data would spoil the evaluation"
    return list(cells), [Problem(table.where(empty[0]), what, remedy)]


def without_patients(table: TableFile, candidates: Sequence[str]) -> Problem:
    """The problem that no column is known to name the patients; the columns that may."""
    near = f"; it may be {', '.join(map(repr, candidates))}" if candidates else ""
    what = (
        "no column is known to name the patients, and without them images of one patient may "
        f"stand in training and in test{near}"
    )
    remedy = (
        "set `patient_column`, or, if every image is of another patient (or you accept that), "
        '`patients = "one_per_image"`'
    )
    return Problem(table.name, what, remedy)


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
    """A native convention, else the usual names; covariates by their usual names in both."""
    usual = {name: named(table, names) for name, names in _COVARIATES.items()}
    found = {name: column for name, column in usual.items() if column}
    for columns, marks in _MARKS:
        if all(mark in table.columns for mark in marks):
            native = {n: c for n, c in columns.covariates.items() if c in table.columns}
            return replace(columns, covariates=found | native)
    return Columns(
        image=named(table, _IMAGE),
        patient=named(table, PATIENT_NAMES),
        covariates=found,
    )


def named(table: TableFile, usual: Sequence[str]) -> str:
    """The column with the first of the usual names that one has, or ""."""
    folded = {fold(column): column for column in reversed(list(table.columns))}
    return next((folded[name] for name in usual if name in folded), "")
