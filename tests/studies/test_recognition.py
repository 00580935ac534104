"""What a user points at finds its source, and the TOML that is shown finds the same one again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from concilium.foundation.errors import DataError
from concilium.studies.configuration import Choice, DataSettings
from concilium.studies.recognition import as_toml, recognise


def archive(path: Path, *arrays: str) -> Path:
    np.savez(path, **{name: np.zeros(1) for name in arrays})  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("arrays", "source", "setting"),
    [
        (("train_images", "train_labels", "val_images"), "medmnist", "file"),
        (("images", "labels", "patient"), "array_bundle", "files"),
        (("features", "labels"), "feature_table", "file"),
        (("logits", "labels", "model"), "feature_table", "file"),
    ],
)
def test_an_archive_is_recognised_by_its_arrays(
    tmp_path: Path, arrays: tuple[str, ...], source: str, setting: str
) -> None:
    path = archive(tmp_path / "a.npz", *arrays)
    found = recognise(path)
    assert found.name == source
    assert found.settings == {setting: [str(path)] if setting == "files" else str(path)}


def test_a_table_stands_for_the_images_beside_it(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image\n")
    assert recognise(table, {"vocabulary": "nih"}).settings == {
        "folder": str(tmp_path),
        "table": str(table),
        "vocabulary": "nih",
    }
    assert recognise(tmp_path).settings == {"folder": str(tmp_path)}


def test_a_folder_of_archives_is_read_as_one_data_set(tmp_path: Path) -> None:
    paths = [archive(tmp_path / f"{name}.npz", "features", "labels") for name in "ba"]
    assert recognise(tmp_path) == Choice(
        name="feature_table", file=[str(path) for path in sorted(paths)]
    )


def test_archives_of_several_kinds_are_not_mixed(tmp_path: Path) -> None:
    archive(tmp_path / "a.npz", "features", "labels")
    archive(tmp_path / "b.npz", "images", "labels")
    with pytest.raises(DataError, match="several kinds: array_bundle, feature_table"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"file": 'a "quoted" \\ name.npz'},
        {"files": ["a", "b"], "image_size": 64, "drop": False},
        {"aliases": {"Pleural Effusion": "Effusion", "é": "E"}, "share": 0.5},
    ],
)
def test_the_toml_of_a_choice_is_read_back_as_it_was(settings: dict[str, object]) -> None:
    choice = Choice(name="some", **settings)
    lines = as_toml(choice, ["Effusion"])
    read = DataSettings.model_validate(tomllib.loads(lines)["data"])
    assert read.source == choice
    assert read.labels == ("Effusion",)
