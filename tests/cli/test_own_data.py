"""A newcomer's own folder: inspected, divided, and never with a proof that proves nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import STUDY, Command, write_features

STATEMENT = "o patient identifiers: images were taken as patients, so "
FOLDER = """
title = "Own"
[data]
source = {name = "image_folder", folder = "scans", image_size = 32}
[split]
partitioner = {name = "by_hospital", column = "hospital"}
[network]
architecture = "small_cnn"
[methods.fedavg]
"""


def scans(folder: Path, patient: str = "patient", hospital: str = "Hospital") -> Path:
    """Forty images of twenty patients at two hospitals, with one column a label."""
    folder.mkdir()
    lines = [f"image,Effusion,Mass,{patient},{hospital}"]
    for row in range(40):
        pixels = np.random.default_rng(row).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")
        who = row // 2
        lines.append(f"{row}.png,{row % 2},{int(row % 3 == 0)},MRN-{7000 + who},site {who % 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_plain_folder_goes_from_inspection_to_its_split(
    concilium: Command, tmp_path: Path
) -> None:
    said = concilium("inspect", scans(tmp_path / "scans"))
    assert said.code == 0, said.err
    assert "40 images of 20 patients" in said.out
    assert "hospital: site 0 20, site 1 20" in said.out
    assert "labels: the columns Effusion, Mass" in said.out
    lines = said.out[said.out.index("[data]") :]
    (tmp_path / "own.toml").write_text(
        FOLDER[: FOLDER.index("[data]")] + lines + FOLDER[FOLDER.index("[split]") :], "utf-8"
    )
    divided = concilium("split", "own.toml")
    assert divided.code == 0, divided.err
    assert "Patients shared: train/validation 0" in divided.out


def test_a_folder_without_a_known_patient_column_is_not_split_in_silence(
    concilium: Command, tmp_path: Path
) -> None:
    scans(tmp_path / "scans", patient="Akte", hospital="Ort")
    (tmp_path / "own.toml").write_text(FOLDER, "utf-8")
    said = concilium("split", "own.toml")
    assert said.code == 2
    assert "it may be 'Akte', 'Ort'" in said.err
    assert "MRN" not in said.err
    known = concilium("inspect", "scans", "--patient-column", "Akte", "--hospital-column", "Ort")
    assert "40 images of 20 patients" in known.out
    assert 'patient_column = "Akte", covariates = {hospital = "Ort"}' in known.out
    taken = concilium("inspect", "scans", "--one-per-image")
    assert "40 images, 64 x 64 pixels; n" + STATEMENT[: -len(", so ")] in taken.out


def test_a_hospital_that_is_not_found_names_the_covariates_and_the_setting(
    concilium: Command, tmp_path: Path
) -> None:
    scans(tmp_path / "scans", hospital="Ort")
    (tmp_path / "own.toml").write_text(FOLDER, "utf-8")
    said = concilium("split", "own.toml")
    assert said.code == 2
    assert "no column 'hospital' among the covariates of the data (none)" in said.err
    assert 'source.covariates = {hospital = "…"}' in said.err


def test_options_of_inspection_find_table_and_labels(concilium: Command, tmp_path: Path) -> None:
    folder = scans(tmp_path / "scans")
    (folder / "other.csv").write_text((folder / "labels.csv").read_text())
    assert "holds 2 tables" in concilium("inspect", "scans").err
    for table in ("labels.csv", "scans/labels.csv"):  # below the folder, or as a shell completes it
        said = concilium("inspect", "scans", "--table", table, "--labels", "Mass")
        assert said.code == 0, said.err
        assert "columns not used: Effusion" in said.out
        assert 'labels = ["Mass"]' in said.out
    write_features(tmp_path / "features.npz")
    said = concilium("inspect", "features.npz", "--patient-column", "x")
    assert said.code == 2
    assert "patient_column" in said.err


def test_a_study_file_takes_no_options_of_the_data(concilium: Command, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(FOLDER, "utf-8")
    said = concilium("inspect", "own.toml", "--labels", "Mass")
    assert said.code == 2
    assert "a study file names its own labels" in said.err


def test_labels_of_a_study_say_that_they_choose_among_those_of_the_source(
    concilium: Command, tmp_path: Path
) -> None:
    scans(tmp_path / "scans")
    text = FOLDER.replace("[split]", 'labels = ["Hernia"]\n[split]')
    (tmp_path / "own.toml").write_text(text, "utf-8")
    said = concilium("split", "own.toml")
    assert said.code == 2
    assert "data.labels: unknown label 'Hernia'; known are: Effusion, Mass; `labels` in [data]" in (
        said.err
    )
    assert "`labels` or `vocabulary` of the source" in said.err


@pytest.fixture
def without_patients(tmp_path: Path) -> Path:
    """A study on features whose file tells no patients."""
    arrays = dict(np.load(write_features(tmp_path / "features.npz")))
    del arrays["patient"]
    np.savez(tmp_path / "features.npz", **arrays)
    study = tmp_path / "tiny.toml"
    study.write_text(STUDY.replace("seeds = [0, 1]", "seeds = [0]"), "utf-8")
    return study


def test_no_proof_is_given_where_images_were_taken_as_patients(
    concilium: Command, without_patients: Path
) -> None:
    said = concilium("split", without_patients)
    assert said.code == 0, said.err
    assert "N" + STATEMENT + "none can be shown to be apart." in said.out
    assert "Patients shared" not in said.out


@pytest.mark.slow
def test_a_report_gives_no_proof_where_images_were_taken_as_patients(
    concilium: Command, without_patients: Path, tmp_path: Path
) -> None:
    assert concilium("run", without_patients, "--out", "run").code == 0
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "N" + STATEMENT + "nothing shows that no patient stands in two parts." in report
    assert "No patient stands in two parts." not in report


@pytest.mark.slow
def test_extracted_features_invent_no_patients(concilium: Command, tmp_path: Path) -> None:
    scans(tmp_path / "scans", patient="Akte")
    text = FOLDER.replace('"scans"', '"scans", patients = "one_per_image"')
    (tmp_path / "own.toml").write_text(text, "utf-8")
    said = concilium("extract", "own.toml", "--out", "features")
    assert said.code == 0, said.err
    assert "patient" not in np.load(next((tmp_path / "features").glob("*.npz"))).files
    divided = concilium("split", "features/study.toml")
    assert "N" + STATEMENT + "none can be shown to be apart." in divided.out
