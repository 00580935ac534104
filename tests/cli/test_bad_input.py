"""Bad input: one message with file, row, label, remedy; exit code 2; nothing half-written."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import STUDY, Command, Outcome, files_below, write_features, write_study

FOLDER_STUDY = """
title = "A folder"
[data]
source = {name = "image_folder", folder = "scans", vocabulary = "nih", image_size = 32}
labels = ["Effusion", "Mass"]
[split]
hospitals = 2
[network]
architecture = "small_cnn"
[methods.fedavg]
"""
ROWS = 12


def patient(row: int) -> str:
    """An identifier as hospitals have them; it must never come back."""
    return f"MRN{48210 + row // 2}"


def scans(folder: Path) -> Path:
    """Twelve images of six patients, one file a row, and their table."""
    folder.mkdir()
    lines = ["image,Effusion,Mass,patient"]
    for row in range(ROWS):
        name = f"{patient(row)}_{row:03d}.png"
        pixels = np.random.default_rng(row).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},{row % 2},{int(row % 3 == 0)},{patient(row)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def image_of(folder: Path, row: int) -> Path:
    return folder / f"{patient(row)}_{row:03d}.png"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def refused(concilium: Command, folder: Path, study: Path) -> str:
    """What ``run`` says to a study that must not run; the folder stays as it was."""
    before = {path: (folder / path).read_bytes() for path in files_below(folder)}
    said: Outcome = concilium("run", study, "--out", folder / "runs" / "x")
    assert said.code == 2, said
    assert said.err.startswith("concilium: ")
    assert "Traceback" not in said.err + said.out
    assert not re.search(r"MRN-?\d", said.err + said.out), "a patient identifier is shown"
    after = {path: (folder / path).read_bytes() for path in files_below(folder)}
    assert after == before, "something was written"
    assert not (folder / "runs").exists()
    return said.err


def bomb(path: Path) -> None:
    """A PNG of a few hundred bytes that says that it has 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sealed = kind + content
        return struct.pack(">I", len(content)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    signature = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(
        signature + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


# What is done to the folder, and what the message must hold, in this order.
FOLDERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "missing image": (
        lambda folder: image_of(folder, 3).unlink(),
        ("labels.csv, row 5", "_003.png", ";"),
    ),
    "truncated PNG": (
        lambda folder: truncate(image_of(folder, 4)),
        ("labels.csv, row 6", "_004.png", ";"),
    ),
    "decompression bomb": (
        lambda folder: bomb(image_of(folder, 5)),
        ("labels.csv, row 7", "_005.png", "pixels", ";"),
    ),
    "column of the images missing": (
        lambda folder: edit(folder / "labels.csv", "image,", "picture,"),
        ("labels.csv", "no column is known to name the images", "set `image_column`"),
    ),
    "column twice": (
        lambda folder: edit(folder / "labels.csv", "Effusion,Mass", "Effusion,Effusion"),
        ("labels.csv", "the column 'Effusion' stands 2 times", "rename or remove"),
    ),
    "unknown label": (
        lambda folder: edit(folder / "labels.csv", "Effusion", "Efusion"),
        ("labels.csv", "label 'Effusion'", "is it 'Efusion'?", "Rename it"),
    ),
    "wrong value": (
        lambda folder: edit(folder / "labels.csv", "_002.png,0,", "_002.png,maybe,"),
        ("labels.csv, row 4", "Effusion", "maybe", ";"),
    ),
    "row without a patient": (
        lambda folder: edit(folder / "labels.csv", f"_002.png,0,0,{patient(2)}", "_002.png,0,0,"),
        ("labels.csv, row 4", "no patient", "fill it in"),
    ),
    "cells missing": (
        lambda folder: edit(folder / "labels.csv", f"_002.png,0,0,{patient(2)}", "_002.png,0"),
        ("labels.csv, row 4", "has 2 cells, the header has 4", "check its separators"),
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_images(concilium: Command, tmp_path: Path, name: str) -> None:
    change, expected = FOLDERS[name]
    study = tmp_path / "study.toml"
    study.write_text(FOLDER_STUDY, encoding="utf-8")
    change(scans(tmp_path / "scans"))
    said = refused(concilium, tmp_path, study)
    place = 0
    for part in expected:
        place = said.find(part, place)
        assert place >= 0, f"{part!r} is missing in: {said}"


def test_several_mistakes_in_a_folder_are_one_message(concilium: Command, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(FOLDER_STUDY, encoding="utf-8")
    folder = scans(tmp_path / "scans")
    image_of(folder, 0).unlink()
    truncate(image_of(folder, 1))
    edit(folder / "labels.csv", "_002.png,0,", "_002.png,perhaps,")
    said = refused(concilium, tmp_path, study)
    assert said.startswith("concilium: 3 problems:\n")
    assert len(said.splitlines()) == 4


def test_an_unknown_label_of_the_study_is_refused_with_a_suggestion(
    concilium: Command, tmp_path: Path
) -> None:
    text = STUDY.replace("[split]", 'labels = ["Effusion", "Hernai"]\n[split]', 1)
    study = write_study(
        tmp_path, text.replace('file = "features.npz"}\n\n', 'file = "features.npz"}\n')
    )
    said = refused(concilium, tmp_path, study)
    assert "unknown label 'Hernai'; did you mean 'Hernia'?" in said


@pytest.mark.parametrize("setting", ["label_sets", "rare_labels"])
def test_an_unknown_label_to_watch_is_refused_before_anything_is_written(
    concilium: Command, tmp_path: Path, setting: str
) -> None:
    old = {"label_sets": '"Mass"]]', "rare_labels": '["Hernia"]'}[setting]
    new = {"label_sets": '"Mas"]]', "rare_labels": '["Herna"]'}[setting]
    said = refused(concilium, tmp_path, write_study(tmp_path, STUDY.replace(old, new)))
    assert f"evaluation.{setting}" in said
    assert "did you mean" in said


def test_a_patient_in_two_parts_of_the_own_split_is_refused(
    concilium: Command, tmp_path: Path
) -> None:
    text = STUDY.replace('"features.npz"}', '"features.npz", covariates = ["part"]}')
    study = write_study(tmp_path, text.replace("hospitals = 2", 'hospitals = 2\ncolumn = "part"'))
    parts = np.repeat(["train", "validation", "test"], [60, 20, 40])
    parts[0] = "test"  # whose other exam is in training
    write_features(tmp_path / "features.npz", part=parts)
    said = refused(concilium, tmp_path, study)
    assert "1 patient has images in both train and test" in said
    assert "split by patient instead" in said


def test_a_hospital_that_is_empty_is_refused(concilium: Command, tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace("hospitals = 2", "hospitals = 200"))
    said = refused(concilium, tmp_path, study)
    assert "60 patients" in said
    assert "ask for fewer hospitals" in said


def test_a_hospital_without_training_images_is_named(concilium: Command, tmp_path: Path) -> None:
    text = STUDY.replace('"features.npz"}', '"features.npz", covariates = ["part"]}')
    text = text.replace("hospitals = 2", 'partitioner = "by_hospital"\ncolumn = "part"')
    study = write_study(tmp_path, text)
    hospital = np.repeat(["north", "south"], [60, 60])
    parts = np.where(hospital == "south", "test", "train")
    write_features(tmp_path / "features.npz", hospital=hospital, part=parts)
    said = refused(concilium, tmp_path, study)
    assert "south: has no training image" in said


def test_a_label_without_positives_is_refused_with_the_labels_to_keep(
    concilium: Command, tmp_path: Path
) -> None:
    study = write_study(tmp_path)
    labels = np.load(tmp_path / "features.npz")["labels"]
    labels[:, 2] = 0
    write_features(tmp_path / "features.npz", labels=labels)
    said = refused(concilium, tmp_path, study)
    assert "'Hernia' (known on 120 images)" in said
    assert 'labels = ["Effusion", "Mass"]' in said


def test_a_feature_that_is_not_a_number_is_named(concilium: Command, tmp_path: Path) -> None:
    study = write_study(tmp_path)
    features = np.load(tmp_path / "features.npz")["features"]
    features[7, 3] = np.nan
    write_features(tmp_path / "features.npz", features=features)
    said = refused(concilium, tmp_path, study)
    assert "features.npz, row 7 (from 0): feature 3 is NaN" in said


def test_a_pixel_that_is_not_a_number_is_named(concilium: Command, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((12, 32, 32)).astype(np.float32)
    images[3, 5, 5] = np.nan
    labels = np.arange(24).reshape(12, 2) % 3 == 0
    patients = np.array([patient(row) for row in range(12)])
    np.savez(
        tmp_path / "pixels.npz",
        images=images,
        labels=labels.astype(np.int8),
        label_names=np.array(["Effusion", "Mass"]),
        patient=patients,
    )
    study = tmp_path / "study.toml"
    source = re.search(r"source = .*", FOLDER_STUDY)
    assert source is not None
    bundle = 'source = {name = "array_bundle", files = ["pixels.npz"]}'
    study.write_text(FOLDER_STUDY.replace(source[0], bundle), encoding="utf-8")
    said = refused(concilium, tmp_path, study)
    assert "pixels.npz, row 3 (from 0): has NaN or infinite pixels" in said


FIVE_MISTAKES = """
title = "Five mistakes"
seed = [0]

[data]
source = {name = "feature_table", file = "features.npz"}
uncertain = "ignored"

[split]
hospitals = 0

[network]
architecture = "linear"

[training]
leraning_rates = [0.1]

[methods.fedavg]
los = "bce"
"""


def one_line_each(said: str, expected: dict[str, str]) -> None:
    """Each place stands in exactly one line, and that line says what is expected of it."""
    for where, what in expected.items():
        (line,) = [line for line in said.splitlines() if where in line]
        assert what in line


def test_a_study_with_five_mistakes_lists_all_five(concilium: Command, tmp_path: Path) -> None:
    said = refused(concilium, tmp_path, write_study(tmp_path, FIVE_MISTAKES))
    assert said.startswith("concilium: 5 problems:\n")
    expected = {
        "tiny.toml, seed:": "did you mean 'seeds'?",
        "tiny.toml, data.uncertain:": "'ignore', 'positive', 'negative' or 'soft'",
        "tiny.toml, split.hospitals:": "greater than or equal to 1",
        "tiny.toml, training.leraning_rates:": "did you mean 'learning_rates'?",
        "tiny.toml, methods.fedavg.los:": "did you mean 'loss'?",
    }
    one_line_each(said, expected)


FIVE_CHOICES = """
title = "Five choices that do not exist, or not so"

[data]
source = {name = "feature_tabel", file = "features.npz"}

[split]
partitioner = {name = "dirichlet", alhpa = 0.3}

[network]
architecture = "linaer"

[methods.mine]
loss = {name = "focal", gamma = "two"}
weighting = "by_image"
"""


def test_five_wrong_choices_are_listed_together(concilium: Command, tmp_path: Path) -> None:
    said = refused(concilium, tmp_path, write_study(tmp_path, FIVE_CHOICES))
    assert said.startswith("concilium: 5 problems:\n")
    expected = {
        "tiny.toml, data.source": "did you mean 'feature_table'?",
        "tiny.toml, split.partitioner": "did you mean 'alpha'?",
        "tiny.toml, network": "did you mean 'linear'?",
        "tiny.toml, methods.mine: losses.focal.gamma": "'two'",
        "tiny.toml, methods.mine: weightings": "did you mean 'by_images'?",
    }
    one_line_each(said, expected)


BOTH_KINDS = """
title = "Keys, values and choices, all wrong"
sedes = [0]

[data]
source = "phantm"

[split]
fractions = [0.5, 0.2, 0.2]

[network]
architecture = {name = "small_cnn", widht = 8}

[training]
learning_rates = [-1.0]

[methods.fedavg]
loss = "focl"
"""


def test_mistakes_of_every_kind_are_listed_together(concilium: Command, tmp_path: Path) -> None:
    """A wrong key does not hide a wrong choice, and one wrong value is one problem."""
    said = refused(concilium, tmp_path, write_study(tmp_path, BOTH_KINDS))
    assert said.startswith("concilium: 6 problems:\n")
    for what in (
        "sedes: unknown key; did you mean 'seeds'?",
        "training.learning_rates.0: Input should be greater than 0",
        "data.source: sources: there is no 'phantm'; did you mean 'phantom'?",
        "split.fractions: (0.5, 0.2, 0.2) do not add up to 1",
        "small_cnn: unknown setting 'widht'; did you mean 'width'?",
        "there is no 'focl'; did you mean 'focal'?",
    ):
        assert what in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"title = ", "is not TOML"),
        (b"\xff\xfe\x00", "is not TOML"),
        (b"", "title: is missing"),
    ],
)
def test_a_file_that_is_no_study_is_refused(
    concilium: Command, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "broken.toml").write_bytes(content)
    shown = refused(concilium, tmp_path, tmp_path / "broken.toml")
    assert "broken.toml" in shown
    assert said in shown


def test_a_study_file_that_is_not_there_names_the_nearest(
    concilium: Command, tmp_path: Path
) -> None:
    write_study(tmp_path)
    said = refused(concilium, tmp_path, tmp_path / "tony.toml")
    assert "tony.toml: there is no such file; did you mean 'tiny.toml'?" in said


def test_a_folder_as_a_study_file_is_refused(concilium: Command, tmp_path: Path) -> None:
    said = refused(concilium, tmp_path, tmp_path)
    assert "cannot be read (Is a directory)" in said


def test_an_out_that_is_a_file_is_refused(concilium: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    said = concilium("run", write_study(tmp_path), "--out", tmp_path / "taken")
    assert said.code == 2
    assert "taken: is a file; name a folder with --out" in said.err
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "there is no such file or folder"),
        ("notes.txt", "is none of the things that can be read"),
        ("empty", "holds no CSV or TSV table"),
        ("torn.npz", "is no .npz archive, or is truncated"),
        ("other.npz", "name arrays 'images' (or 'features'), 'labels'"),
    ],
)
def test_inspect_refuses_what_is_no_data(
    concilium: Command, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 and then nothing")
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    shown = concilium("inspect", name)
    assert shown.code == 2
    assert said in shown.err
