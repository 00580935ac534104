"""The folder source: hospital and public tables, every kind of mistake, and nothing said twice."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from concilium.data.dataset import Dataset
from concilium.foundation import components
from concilium.foundation.errors import DataError, InputError
from concilium.labels.states import State
from concilium.labels.vocabularies import vocabulary
from concilium.sources._image_paths import masked
from concilium.sources.image_folder import ImageFolder

A, P, U, N = State.ABSENT, State.PRESENT, State.UNCERTAIN, State.UNKNOWN
RNG = np.random.default_rng(0)


def picture(folder: Path, name: str, gray: int | None = None) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (8, 8), dtype=np.uint8) if gray is None else gray
    Image.fromarray(np.broadcast_to(np.uint8(pixels), (8, 8)).copy()).save(path)


def folder_of(folder: Path, table: str, *images: str, name: str = "labels.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        picture(folder, image, 10 * i % 256)
    (folder / name).write_text(table, encoding="utf-8")
    return folder


def load(folder: Path, **settings: Any) -> Dataset:
    source = ImageFolder(folder, **{"image_size": 8, **settings})
    return source.load(folder / "cache")


def refused(folder: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, **settings)
    return str(caught.value)


LISTS = """image,findings,patient
a.png,Effusion|Mass,p1
b.png,No Finding,p2
c.png,,p1
"""
ONE_HOT = """image,Effusion,Mass,patient
a.png,1,0,p1
b.png,-1,,p2
c.png,0.0,1.0,p1
"""
IMAGES = ("a.png", "b.png", "c.png")


def test_lists_name_what_is_present_and_leave_the_rest_absent(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, LISTS, *IMAGES)
    table = load(folder, label_column="findings", labels=("Mass", "Edema", "Effusion")).table
    # "No Finding" makes all absent and is no label; an empty cell says nothing.
    assert table.states.tolist() == [[P, A, P], [A, A, A], [N, N, N]]
    assert table.patient.tolist() == [0, 1, 0]
    assert table.schema.names == ("Mass", "Edema", "Effusion")


def test_columns_hold_the_four_states(tmp_path: Path) -> None:
    table = load(folder_of(tmp_path, ONE_HOT, *IMAGES), labels=("Effusion", "Mass")).table
    assert table.states.tolist() == [[P, A], [U, N], [A, P]]


def test_images_keep_the_order_of_the_rows(tmp_path: Path) -> None:
    data = load(folder_of(tmp_path, ONE_HOT, *IMAGES), labels=("Effusion", "Mass"))
    assert data.images[:, 0, 0].tolist() == [0, 10, 20]
    assert data.images.dtype == np.uint8
    assert data.images.shape == (3, 8, 8)
    assert not data.synthetic


def test_aliases_and_a_vocabulary_find_columns_and_names(tmp_path: Path) -> None:
    text = ONE_HOT.replace("Effusion", "Pleural Effusion").replace("Mass", "Lump")
    folder = folder_of(tmp_path / "a", text, *IMAGES)
    names = ("Effusion", "Mass")
    found = load(folder, vocabulary="nih", labels=names, aliases={"Lump": "Mass"}).table
    assert found.schema.names == names
    assert found.states.tolist() == [[P, A], [U, N], [A, P]]
    whole = load(folder, vocabulary="nih", aliases={"Lump": "Mass"}).table
    assert whole.schema.names == vocabulary("nih").names
    assert (whole.states[:, whole.schema.index("Hernia")] == N).all(), "no column: nobody said"


def test_labels_of_the_vocabulary_that_are_not_wanted_are_passed_over(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, LISTS, *IMAGES)
    table = load(folder, label_column="findings", vocabulary="nih", labels=("Mass",)).table
    assert table.states.tolist() == [[P], [A], [N]]


def test_permuting_rows_permutes_exams_and_permuting_labels_permutes_columns(
    tmp_path: Path,
) -> None:
    header, *rows = ONE_HOT.splitlines()
    one = load(folder_of(tmp_path / "1", ONE_HOT, *IMAGES), labels=("Effusion", "Mass"))
    order = [2, 0, 1]
    text = "\n".join([header, *(rows[i] for i in order)])
    other = load(folder_of(tmp_path / "2", text, *IMAGES), labels=("Mass", "Effusion"))
    assert np.array_equal(other.images, one.images[order])
    assert np.array_equal(other.table.states, one.table.states[order][:, ::-1])
    same = one.table.patient[order]
    assert np.array_equal(
        same[:, None] == same, other.table.patient[:, None] == other.table.patient
    )


def test_a_second_load_reads_the_cache_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES)
    first = load(folder, labels=("Effusion", "Mass"))
    monkeypatch.setattr("concilium.data.image_cache.read_image", None)
    second = load(folder, labels=("Effusion", "Mass"))
    assert np.array_equal(first.images, second.images)
    assert isinstance(second.images, np.memmap)
    assert first.notes == second.notes


def test_a_changed_image_or_setting_is_read_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES)
    labels = ("Effusion", "Mass")
    load(folder, labels=labels)
    Image.fromarray(np.full((9, 8), 77, np.uint8)).save(folder / "b.png")
    assert load(folder, labels=labels).images[1, 0, 0] == 77
    assert load(folder, labels=labels, image_size=4).images.shape == (3, 4, 4)


NIH = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,
00000017_000.png,Cardiomegaly|Pleural_Thickening,0,17,058Y,M,PA,
00000017_001.png,No Finding,1,17,414,M,AP,
00001234_000.png,Hernia,0,1234,,F,PA,
"""
NIH_IMAGES = ("00000017_000.png", "00000017_001.png", "00001234_000.png")


def test_the_nih_table_is_recognised_by_its_columns(tmp_path: Path) -> None:
    # Images lie in NIH's own subfolders, the table names them without.
    places = [f"images_00{i + 1}/images/{name}" for i, name in enumerate(NIH_IMAGES)]
    data = load(folder_of(tmp_path, NIH, *places))
    table = data.table
    assert table.schema.names == vocabulary("nih").names
    assert (table.states == P).sum(axis=1).tolist() == [2, 0, 1]
    assert (table.states >= A).all(), "an NIH list speaks of every label"
    assert table.patient.tolist() == [0, 0, 1]
    assert table.covariates["sex"].tolist() == ["M", "M", "F"]
    assert table.covariates["view"].tolist() == ["PA", "AP", "PA"]
    ages = table.covariates["age"]
    assert ages[0] == 58
    assert np.isnan(ages[1:].astype(float)).all(), "414 years and a blank are unknown"
    assert data.notes["ages that are no number up to 120"] == "1 (unknown)"
    assert "Edema" in data.notes["labels without a positive"]
    assert data.images[:, 0, 0].tolist() == [0, 10, 20]


CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema,Support Devices
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,0.0,
CheXpert-v1.0-small/train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,,,1.0,,
CheXpert-v1.0-small/train/patient00022/study1/view1_frontal.jpg,Unknown,87,Frontal,PA,,-1.0,,1.0
"""


@pytest.mark.parametrize("inside", [True, False])
def test_the_chexpert_table_is_recognised_by_its_columns(tmp_path: Path, inside: bool) -> None:
    # ``folder`` may be the data set's own folder, or the one that it lies in.
    names = [line.split(",")[0] for line in CHEXPERT.splitlines()[1:]]
    names = [name.split("/", 1)[1] for name in names] if inside else names
    data = load(folder_of(tmp_path, CHEXPERT, *names))
    table = data.table
    assert table.schema.names == vocabulary("chexpert").names
    columns = [table.schema.index(name) for name in ("Cardiomegaly", "Edema", "Support Devices")]
    assert table.states[:, columns].tolist() == [[N, A, N], [P, N, N], [U, N, P]]
    assert table.patient.tolist() == [0, 0, 1]
    assert table.covariates["sex"].tolist() == ["F", "F", ""]
    assert table.covariates["view"].tolist() == ["AP", "LATERAL", "PA"]
    assert "unknown" in data.notes["blanks beside 'No Finding'"]


def test_no_finding_makes_blanks_absent_only_by_explicit_choice(tmp_path: Path) -> None:
    names = [line.split(",")[0] for line in CHEXPERT.splitlines()[1:]]
    table = load(folder_of(tmp_path, CHEXPERT, *names), no_finding="absent").table
    devices = table.schema.index("Support Devices")
    findings = np.delete(table.states, devices, axis=1)
    assert (findings[0] == A).all()
    assert table.states[0, devices] == N, "a device is no finding"
    assert (findings[1:] == N).sum() == 11 + 11, "only where it was said"


def test_tables_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    # German spreadsheets separate with semicolons and begin with a byte-order mark.
    labels = ("Effusion", "Mass")
    expected = load(folder_of(tmp_path / "csv", ONE_HOT, *IMAGES), labels=labels).table.states
    semicolons = "\ufeff" + ONE_HOT.replace(",", ";").replace("\n", "\r\n")
    found = load(folder_of(tmp_path / "semi", semicolons, *IMAGES), labels=labels).table.states
    assert np.array_equal(found, expected)
    tabs = ONE_HOT.replace(",", "\t")
    found = load(folder_of(tmp_path / "t", tabs, *IMAGES, name="l.tsv"), labels=labels).table.states
    assert np.array_equal(found, expected)
    packed = folder_of(tmp_path / "gz", "", *IMAGES)
    (packed / "labels.csv").unlink()
    (packed / "labels.csv.gz").write_bytes(gzip.compress(ONE_HOT.encode()))
    assert np.array_equal(load(packed, labels=labels).table.states, expected)


def test_covariates_are_taken_from_the_columns_named(tmp_path: Path) -> None:
    text = "image,Mass,Place,Years,patient\na.png,1,North,60,a\nb.png,0,,x,b\n"
    folder = folder_of(tmp_path, text, "a.png", "b.png")
    covariates = {"hospital": "Place", "age": "Years"}
    table = load(folder, labels=("Mass",), covariates=covariates).table
    assert table.covariates["hospital"].tolist() == ["North", ""]
    assert table.covariates["age"].tolist()[0] == 60


def test_every_mistake_in_table_and_images_is_listed_at_once(tmp_path: Path) -> None:
    rows = [
        "a.png,Effusion,p1",
        "b.png,Efusion|Mass,p2",
        "gone.png,Mass,p3",
        "a.png,Mass,p1",
        "../secret.png,Mass,p4",
        "/etc/passwd,Mass,p4",
        "half.png,No Finding|Mass,p5",
        "text.png,Mass,",
    ]
    text = "\n".join(["image,findings,patient", *rows])
    folder = folder_of(tmp_path / "data", text, "a.png", "b.png", "half.png")
    picture(folder, "half.png")
    content = (folder / "half.png").read_bytes()
    (folder / "half.png").write_bytes(content[:-30])
    (folder / "text.png").write_text("no image")
    picture(tmp_path, "secret.png")
    message = refused(folder, label_column="findings", vocabulary="nih")
    for part in (
        "labels.csv, row 3: unknown label 'Efusion'; did you mean 'Effusion'?",
        "labels.csv, row 4, image 'gone.png': is not there",
        "labels.csv, row 5, image 'a.png': stands in row 2 already",
        "labels.csv, row 6, image '../secret.png': lies outside the data folder",
        "labels.csv, row 7, image '/etc/passwd': lies outside the data folder",
        "labels.csv, row 8: column 'findings' says both 'No Finding' and 'Mass'",
        "labels.csv, row 8, image 'half.png': is truncated",
        "labels.csv, row 9: no patient in column 'patient'",
        "labels.csv, row 9, image 'text.png': is not a PNG or JPG",
    ):
        assert part in message
    assert not (folder / "cache").exists(), "nothing half-written"


def test_an_image_that_cannot_be_read_leaves_no_cache(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, *IMAGES)
    (folder / "b.png").write_bytes(b"")
    message = refused(folder, labels=("Effusion", "Mass"))
    assert message == ("labels.csv, row 3, image 'b.png': is empty (0 bytes); copy it again")
    assert list((folder / "cache").iterdir()) == []


def test_links_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    picture(tmp_path, "elsewhere/x.png")
    folder = folder_of(tmp_path / "data", "image,Mass\nfile.png,1\nsub/x.png,1\n")
    (folder / "file.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    message = refused(folder, labels=("Mass",))
    assert message.count("link that leads out of the data folder") == 2


def test_a_data_folder_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    folder_of(tmp_path / "real", "image,Mass,patient\na.png,1,p\n", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(load(tmp_path / "link", labels=("Mass",)).table) == 1


@pytest.mark.parametrize("name", ["C:\\x.png", "a\x00b.png", "a" * 300 + ".png", "", ".", ".."])
def test_no_name_of_an_image_ends_in_another_error(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, f"image,Mass\n{name},1\n")
    with pytest.raises(DataError):
        load(folder, labels=("Mass",))


def test_a_name_that_stands_in_two_subfolders_is_not_guessed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "image,Mass\nx.png,1\n", "a/x.png", "b/x.png")
    assert "stands 2 times below the data folder" in refused(folder, labels=("Mass",))


def test_patient_identifiers_are_masked_in_messages(tmp_path: Path) -> None:
    message = refused(folder_of(tmp_path, NIH))
    assert "0017_" not in message
    assert "1234" not in message
    assert "row 2, image '[patient]_000.png'" in message
    message = refused(folder_of(tmp_path / "c", CHEXPERT))
    assert "00022" not in message
    assert "[patient]/study1/view1_frontal.jpg" in message


@pytest.mark.parametrize(
    ("name", "patient", "shown"),
    [
        ("00001873_000.png", "1873", "[patient]_000.png"),
        ("00000001_001.png", "1", "[patient]_001.png"),
        ("p-0042/view.png", "p-0042", "[patient]/view.png"),
        ("20001873.png", "1873", "20001873.png"),  # another number that ends alike
        ("scan_1.png", "1", "scan_1.png"),  # too short to tell anybody
        ("a.png", "", "a.png"),
        ("0000.png", "0000", "0000.png"),
    ],
)
def test_the_identifier_alone_is_masked(name: str, patient: str, shown: str) -> None:
    assert masked(name, patient) == shown


def test_nothing_that_is_stored_or_reported_tells_a_patient_or_a_file(tmp_path: Path) -> None:
    data = load(folder_of(tmp_path, NIH, *NIH_IMAGES))
    stored = [p.name.encode() + p.read_bytes() for p in (tmp_path / "cache").iterdir()]
    said = repr((data.title, data.notes)).encode()
    for identifier in (b"1234", b"00000017", str(tmp_path).encode()):
        assert all(identifier not in text for text in (*stored, said))


def test_missing_images_are_dropped_only_when_asked_and_then_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, ONE_HOT, "a.png", "c.png")
    labels = ("Effusion", "Mass")
    assert "row 3, image 'b.png': is not there" in refused(folder, labels=labels)
    data = load(folder, labels=labels, missing_images="drop")
    assert data.notes["rows dropped, image missing"] == "1"
    assert data.table.states.tolist() == [[P, A], [A, P]]
    assert data.table.patient.tolist() == [0, 0]
    empty = folder_of(tmp_path / "empty", ONE_HOT)
    assert "none of the images" in refused(empty, labels=labels, missing_images="drop")


@pytest.mark.parametrize(
    ("table", "settings", "expected"),
    [
        ("image,Mass,Mass\na.png,1,0\n", {"labels": ("Mass",)}, "'Mass' stands 2 times"),
        ("image,Edema,edema\na.png,1,0\n", {"labels": ("Edema",)}, "are the same label; remove"),
        ("image,Mass\na.png,1,0\n", {"labels": ("Mass",)}, "row 2: has 3 cells, the header has 2"),
        ("image,Mass\n", {"labels": ("Mass",)}, "holds no rows"),
        ("", {"labels": ("Mass",)}, "holds no rows"),
        ("image,Mass\na.png,1\n", {"vocabulary": "nhi"}, "did you mean 'nih'?"),
        ("image,Mass\na.png,2\n", {"labels": ("Mass",)}, "row 2: column 'Mass' holds '2'"),
        ("image,Mass\na.png,x\n", {"labels": ("Mass",)}, "1, true or yes is present, 0, false"),
        (
            "image,Mas\na.png,1\n",
            {"labels": ("Mass",)},
            "no column for the label 'Mass'; is it 'Mas'",
        ),
        (
            "image,Mas\na.png,1\n",
            {"vocabulary": "nih"},
            "no column for the label 'Mass'; is it 'Mas'",
        ),
        ("image,Foo\na.png,1\n", {"vocabulary": "nih"}, "no column has the name of a label"),
        ("image,Foo\na.png,1\n", {"labels": ("Mass",)}, "no column for the label 'Mass'"),
        ("scan,Mass\na.png,1\n", {"labels": ("Mass",)}, "set `image_column`"),
        (
            "image,Mass\na.png,1\n",
            {"labels": ("Mass",), "patient_column": "imagee"},
            "no column 'imagee' (setting patient_column); did you mean 'image'?",
        ),
        ('image,Mass\n"a.png,1\n', {"labels": ("Mass",)}, "is not a table"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_to_do(
    tmp_path: Path, table: str, settings: dict[str, Any], expected: str
) -> None:
    assert expected in refused(folder_of(tmp_path, table, "a.png"), **settings)


def test_a_table_that_is_missing_or_not_the_only_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", ONE_HOT, *IMAGES)
    (folder / "other.csv").write_text(ONE_HOT)
    assert "holds 2 tables: labels.csv, other.csv; set `table`" in refused(folder)
    assert "did you mean 'labels.csv'?" in refused(folder, table=Path("label.csv"))
    assert len(load(folder, table=Path("other.csv"), labels=("Mass",)).table) == 3
    assert "holds no CSV" in refused(folder_of(tmp_path / "b", "", name="readme.txt"))
    assert "is not a folder" in refused(tmp_path / "nowhere")


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "", "a.png")
    (folder / "labels.csv").write_bytes("image,Größe\n".encode("latin-1"))
    assert "is not UTF-8" in refused(folder)
    (folder / "labels.csv").unlink()
    (folder / "labels.csv.gz").write_bytes(gzip.compress(ONE_HOT.encode())[:30])
    assert "cannot be read" in refused(folder)


def test_an_error_repeated_in_many_rows_is_one_problem(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}.png,Mas,{i}" for i in range(50))
    folder = folder_of(
        tmp_path, f"image,findings,patient\n{rows}\n", *(f"{i}.png" for i in range(50))
    )
    message = refused(folder, label_column="findings", vocabulary="nih")
    assert message == (
        "labels.csv, row 2: unknown label 'Mas' (and in 49 more rows); did you mean 'Mass'?"
    )


def test_it_is_found_and_built_by_name(tmp_path: Path) -> None:
    settings = {"folder": str(tmp_path), "image_size": 32, "aliases": {"Lump": "Mass"}}
    source = components.build("sources", "image_folder", settings)
    assert source == ImageFolder(tmp_path, image_size=32, aliases={"Lump": "Mass"})
    with pytest.raises(InputError, match="did you mean 'crop'"):
        ImageFolder(tmp_path, resize="corp")  # type: ignore[arg-type]


def test_the_real_nih_originals_are_read_with_their_own_table(
    real_data: Path, tmp_path: Path
) -> None:
    # Two of the 36 images of 1024 × 1024, so that the fast tests stay fast.
    originals = real_data / "nih" / "originals"
    lines = (originals / "Data_Entry_2017.csv").read_text().splitlines()[:3]
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(lines))
    source = ImageFolder(originals, tmp_path / "Data_Entry_2017.csv", image_size=64)
    data = source.load(tmp_path / "cache")
    assert data.images.shape == (2, 64, 64)
    assert (data.table.states == P).sum(axis=1).tolist() == [0, 1], "No Finding; Pleural_Thickening"


@pytest.mark.slow
def test_all_36_originals_match_the_64_pixel_versions_of_the_same_images(
    real_data: Path, tmp_path: Path
) -> None:
    data = ImageFolder(real_data / "nih" / "originals").load(tmp_path)
    assert data.images.shape == (36, 64, 64)
    assert len(np.unique(data.table.patient)) == 36
    lines = (real_data / "nih" / "originals" / "Data_Entry_2017.csv").read_text().splitlines()[1:]
    names = [line.split(",")[0] for line in lines]
    with np.load(real_data / "nih" / "nih_starter621_64.npz") as small:
        rows = {name: i for i, name in enumerate(small["image"].tolist())}
        both = [i for i, name in enumerate(names) if name in rows]
        other = np.stack([small["images"][rows[names[i]]] for i in both]).astype(float)
        labels = np.stack([small["labels"][rows[names[i]]] for i in both])
    assert len(both) >= 30
    assert np.array_equal(data.table.states[both], labels)
    # Another program reduced the small ones; a transposed or wrongly cropped image would differ by
    # tens of gray values, another filter by a few.
    assert np.abs(data.images[both] - other).mean(axis=(1, 2)).max() < 6
