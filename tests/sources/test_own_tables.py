"""A hospital's own table: what is found without settings is said, nothing is left in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from concilium.data.dataset import NO_PATIENTS, PATIENTS
from concilium.foundation.errors import InputError
from concilium.labels.states import State
from concilium.sources._image_paths import masked
from concilium.sources.image_folder import ImageFolder

from .test_image_folder import CHEXPERT, IMAGES, NIH, NIH_IMAGES, folder_of, load, refused

A, P, U, N = State.ABSENT, State.PRESENT, State.UNCERTAIN, State.UNKNOWN

ONE_HOT = """image,Effusion,Mass,No Finding,age,visits,remark,patient
a.png,1,0,0,60,0,new,p1
b.png,-1,,1,70,2,,p2
c.png,0,1,0,1,1,old,p1
"""


# Patients


def test_a_table_without_patients_is_refused_with_the_columns_that_may_be_them(
    tmp_path: Path,
) -> None:
    # "Akte" is filled and differs from row to row; "remark" has a blank; labels and ages are none.
    text = ONE_HOT.replace("patient", "Akte")
    message = refused(folder_of(tmp_path, text, *IMAGES))
    assert "no column is known to name the patients" in message
    assert "it may be 'visits', 'Akte'" in message
    assert "set `patient_column`" in message
    assert '`patients = "one_per_image"`' in message
    assert "p1" not in message, "no identifier"
    data = load(tmp_path, patient_column="Akte")
    assert data.table.patient.tolist() == [0, 1, 0]
    assert PATIENTS not in data.notes


def test_images_are_patients_only_by_explicit_choice_and_the_notes_say_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT.replace("patient", "Akte"), *IMAGES)
    data = load(folder, patients="one_per_image")
    assert data.table.patient.tolist() == [0, 1, 2]
    assert data.notes[PATIENTS].startswith(NO_PATIENTS)


def test_one_image_a_patient_is_refused_where_the_table_says_otherwise(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES)
    message = refused(folder, patients="one_per_image")
    assert "column 'patient' names 2 patients on 3 images" in message
    with pytest.raises(InputError, match="contradicts"):
        ImageFolder(folder, patient_column="patient", patients="one_per_image")
    with pytest.raises(InputError, match="did you mean 'one_per_image'"):
        ImageFolder(folder, patients="one_image")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["PatientID", "patient_id", "Subject ID", "MRN", "case", "Person-ID", "pid"]
)
def test_usual_names_of_patient_columns_are_found(tmp_path: Path, name: str) -> None:
    data = load(folder_of(tmp_path, ONE_HOT.replace("patient", name), *IMAGES))
    assert data.table.patient.tolist() == [0, 1, 0]
    assert data.notes["column of the patients"] == name


def test_the_surest_name_of_a_patient_column_is_taken(tmp_path: Path) -> None:
    # A case may be an exam: where there are both, the patient counts, whatever comes first.
    text = "case,image,Mass,patient\n1,a.png,1,p\n2,b.png,0,p\n"
    assert load(folder_of(tmp_path, text, *IMAGES)).table.patient.tolist() == [0, 0]


def test_rows_without_a_patient_are_one_problem(tmp_path: Path) -> None:
    text = ONE_HOT.replace(",p1", ",").replace(",p2", ",")
    message = refused(folder_of(tmp_path, text, *IMAGES))
    assert message.startswith("labels.csv, row 2: no patient in column 'patient' (and in 2 more")


# Covariates


def test_a_hospital_column_is_kept_in_native_tables_too(tmp_path: Path) -> None:
    lines = NIH.splitlines()
    text = "\n".join([lines[0] + "Hospital", *(f"{line}North" for line in lines[1:])])
    table = load(folder_of(tmp_path / "nih", text, *NIH_IMAGES)).table
    assert table.covariates["hospital"].tolist() == ["North"] * 3
    assert table.covariates["sex"].tolist() == ["M", "M", "F"], "the native ones as before"
    header, *rows = CHEXPERT.splitlines()
    names = [row.split(",")[0] for row in rows]
    text = "\n".join([header + ",Site", *(f"{row},South" for row in rows)])
    table = load(folder_of(tmp_path / "chexpert", text, *names)).table
    assert table.covariates["hospital"].tolist() == ["South"] * 3
    assert table.covariates["view"].tolist() == ["AP", "LATERAL", "PA"]


def test_columns_that_nothing_is_taken_from_are_named(tmp_path: Path) -> None:
    data = load(folder_of(tmp_path, ONE_HOT, *IMAGES), labels=("Mass",))
    assert data.notes["columns not used"] == "Effusion, visits, remark"


# Labels that nobody named


def test_columns_that_hold_only_values_of_labels_are_the_labels_and_the_notes_say_so(
    tmp_path: Path,
) -> None:
    data = load(folder_of(tmp_path, ONE_HOT, *IMAGES))
    # "visits" holds a 2 and "remark" words; age is a covariate though one cell is 1.
    assert data.table.schema.names == ("Effusion", "Mass")
    assert data.table.states.tolist() == [[P, A], [U, N], [A, P]]
    assert data.notes["labels"].startswith("the columns Effusion, Mass (")
    assert data.notes["columns not used"] == "visits, remark"


def test_naming_the_labels_that_would_be_found_changes_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES)
    found, named = load(folder), load(folder, labels=("Effusion", "Mass"))
    assert np.array_equal(found.table.states, named.table.states)
    assert found.digest() == named.digest()
    assert "labels" not in named.notes


def test_a_wrong_cell_does_not_cost_a_label(tmp_path: Path) -> None:
    text = ONE_HOT.replace("c.png,0,1", "c.png,perhaps,1")
    message = refused(folder_of(tmp_path, text, *IMAGES))
    assert message.startswith("labels.csv, row 4: column 'Effusion' holds 'perhaps'; 1, true or")


def test_where_no_column_looks_like_a_label_columns_and_remedies_are_named(tmp_path: Path) -> None:
    text = "image,patient,remark,visits\na.png,p,new,3\n"
    message = refused(folder_of(tmp_path, text, "a.png"))
    assert "it is not said which labels there are" in message
    assert "(columns: remark, visits)" in message
    for remedy in ("`labels`", "`vocabulary`", "`label_column`", "`labels` in [data] only"):
        assert remedy in message


LISTS = """image,patient,{},Hospital
a.png,p1,Efusion|Mass,North
b.png,p2,No Finding,South
c.png,p1,Effusion | mass,North
d.png,p3,,South
"""


@pytest.mark.parametrize("column", ["Findings", "what"])  # by its name, by its separators
def test_lists_are_found_and_their_names_are_the_labels(tmp_path: Path, column: str) -> None:
    data = load(folder_of(tmp_path, LISTS.format(column), *IMAGES, "d.png"))
    assert data.table.schema.names == ("Effusion", "Efusion", "Mass")
    assert data.table.states.tolist() == [[A, P, P], [A, A, A], [P, A, P], [N, N, N]]
    assert data.table.covariates["hospital"].tolist() == ["North", "South", "North", "South"]
    assert "'Effusion' and 'Efusion' look alike" in data.notes["labels"]


def test_lists_are_found_for_a_vocabulary_too(tmp_path: Path) -> None:
    text = LISTS.format("findings").replace("Efusion", "Effusion")
    data = load(folder_of(tmp_path, text, *IMAGES, "d.png"), vocabulary="nih", labels=("Mass",))
    assert data.table.states.tolist() == [[P], [A], [P], [N]]


def test_columns_of_labels_come_before_a_column_of_lists(tmp_path: Path) -> None:
    text = "image,patient,findings,Edema\na.png,p,Mass|Edema,1\nb.png,q,,0\n"
    data = load(folder_of(tmp_path, text, *IMAGES))
    assert data.table.schema.names == ("Edema",)
    assert data.notes["columns not used"] == "findings"


# Cells


@pytest.mark.parametrize(
    ("cells", "state"),
    [
        (("1", "1.0", "True", "TRUE", "yes", "Yes"), P),
        (("0", "0.0", "false", "False", "no", "NO"), A),
        (("-1", "-1.0"), U),
        (("", "NaN", "nan"), N),
    ],
)
def test_values_of_labels(tmp_path: Path, cells: tuple[str, ...], state: State) -> None:
    rows = [f"{i}.png,{cell},{i}" for i, cell in enumerate(cells)]
    images = [f"{i}.png" for i in range(len(cells))]
    text = "\n".join(["image,Mass,patient", *rows])
    data = load(folder_of(tmp_path, text, *images), labels=("Mass",))
    assert data.table.states[:, 0].tolist() == [state] * len(cells)


def test_a_value_that_repeats_over_columns_is_one_problem(tmp_path: Path) -> None:
    text = "image,Mass,Edema,patient\na.png,?,0,p\nb.png,1,?,q\nc.png,?,?,r\n"
    message = refused(folder_of(tmp_path, text, *IMAGES), labels=("Mass", "Edema"))
    assert message.startswith(
        "labels.csv, row 2: columns 'Mass' and 'Edema' hold '?' (and in 2 more rows); 1, true"
    )


def test_a_column_of_many_other_values_is_one_problem(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}.png,{i + 10},p" for i in range(9))
    folder = folder_of(tmp_path, f"image,Mass,patient\n{rows}\n", *(f"{i}.png" for i in range(9)))
    message = refused(folder, labels=("Mass",))
    assert "column 'Mass' holds 9 different values such as '10', '11', '12' (and in 8" in message
    assert "problems" not in message


# Images


def test_images_without_a_row_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES, "sub/d.png", "e.jpg")
    (folder / "read.txt").write_text("no image")
    assert load(folder).notes["images in the folder without a row"] == "2"
    assert (
        "images in the folder without a row"
        not in load(folder_of(tmp_path / "all", ONE_HOT, *IMAGES)).notes
    )


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            ".jpg",
            "is not there, but an image of this name ending in '.jpg' is (and in 2 more rows)",
        ),
        (".PNG", "with other upper and lower case letters it is (and in 2 more rows)"),
    ],
)
def test_names_that_differ_in_ending_or_case_are_one_problem_with_a_remedy(
    tmp_path: Path, there: str, said: str
) -> None:
    images = [name.replace(".png", there) for name in IMAGES]
    message = refused(folder_of(tmp_path, ONE_HOT, *images))
    assert message.startswith("labels.csv, row 2, image 'a.png': ")
    assert said in message
    assert "problems" not in message


def test_names_without_an_ending_are_matched_too(tmp_path: Path) -> None:
    text = ONE_HOT.replace(".png", "")
    assert "ending in '.png' is (and in 2 more" in refused(folder_of(tmp_path, text, *IMAGES))


def test_masks_do_not_depend_on_case() -> None:
    assert masked("MRN4821_1.png", "mrn4821") == "[patient]_1.png"
    assert masked("P-0042/x.png", "p-0042") == "[patient]/x.png"


def test_problems_stand_in_the_order_of_the_rows(tmp_path: Path) -> None:
    text = "\n".join(
        ["image,Mass,patient", "gone.png,1,p", "b.png,?,q", "a.png,1,", "a.png,0,r", "no.png,0,s"]
    )
    message = refused(folder_of(tmp_path, text, "a.png", "b.png"), labels=("Mass",))
    rows = [line.split("row ")[1][0] for line in message.splitlines()[1:]]
    assert rows == ["2", "3", "4", "5", "6"]


def test_the_window_is_told_only_where_an_image_had_more_than_8_bits(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES)
    assert "8 bits" not in load(folder).notes["images as read"]
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(folder / "b.png")
    first, second = load(folder), load(folder)  # the second reads what the first has kept
    assert "1 with more than 8 bits: 0.5-99.5 percentile window" in first.notes["images as read"]
    assert second.notes == first.notes
