"""MedMNIST archives, on small files in the same format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.data.dataset import NO_PATIENTS, PATIENTS, Dataset
from concilium.foundation.errors import InputError
from concilium.sources.medmnist import MedMNIST

COUNTS = {"train": 5, "val": 2, "test": 3}


def archive(folder: Path, side: int = 28, labels: int = 14, **arrays: Any) -> Path:
    generator = np.random.default_rng(0)
    content: dict[str, Any] = {}
    for part, count in COUNTS.items():
        content[f"{part}_images"] = generator.integers(0, 256, (count, side, side), dtype=np.uint8)
        content[f"{part}_labels"] = generator.integers(0, 2, (count, labels), dtype=np.uint8)
    np.savez_compressed(folder / "chestmnist.npz", **(content | arrays))
    return folder / "chestmnist.npz"


def load(file: Path, **settings: Any) -> Dataset:
    return MedMNIST(file, **settings).load(file.parent / "cache")


def refused(file: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(file, **settings)
    return str(caught.value)


@pytest.mark.parametrize("side", [28, 64])
def test_parts_stand_one_after_the_other_and_are_a_covariate(tmp_path: Path, side: int) -> None:
    file = archive(tmp_path, side)
    data = load(file)
    with np.load(file) as stored:
        images = np.concatenate([stored[f"{part}_images"] for part in COUNTS])
        labels = np.concatenate([stored[f"{part}_labels"] for part in COUNTS])
    assert np.array_equal(data.images, images)
    assert np.array_equal(data.table.states, labels)
    parts = ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    assert data.table.covariates["part"].tolist() == parts
    assert data.input_shape == (1, side, side)


def test_14_labels_are_those_of_chestmnist_in_its_order(tmp_path: Path) -> None:
    schema = load(archive(tmp_path)).table.schema
    assert schema.names[0] == "atelectasis"
    assert schema.names[12:] == ("pleural", "hernia")
    assert schema.index("Pleural_Thickening") == 12


def test_every_image_is_a_patient_and_the_report_says_so(tmp_path: Path) -> None:
    data = load(archive(tmp_path))
    assert len(np.unique(data.table.patient)) == 10
    assert data.notes[PATIENTS].startswith(NO_PATIENTS)


def test_other_archives_need_names(tmp_path: Path) -> None:
    file = archive(tmp_path, labels=3)
    assert load(file, labels=("a", "b", "c")).table.schema.names == ("a", "b", "c")
    assert "3 label columns, and 0 names are given" in refused(file)
    assert "one class an image" in refused(archive(tmp_path, labels=1))


def test_colour_becomes_gray_and_another_size_is_reached(tmp_path: Path) -> None:
    gray = load(archive(tmp_path)).images
    with np.load(tmp_path / "chestmnist.npz") as stored:
        colour = {
            f"{part}_images": np.repeat(stored[f"{part}_images"][..., None], 3, axis=-1)
            for part in COUNTS
        }
    assert np.array_equal(load(archive(tmp_path, **colour)).images, gray)
    half = load(archive(tmp_path), image_size=14).images
    means = gray.reshape(10, 14, 2, 14, 2).mean(axis=(2, 4))
    assert np.abs(half - means).max() <= 1, "two roundings to whole gray values"


def test_a_second_load_is_the_cache_and_equals_the_first(tmp_path: Path) -> None:
    file = archive(tmp_path)
    first, second = load(file), load(file)
    assert isinstance(second.images, np.memmap)
    assert first.images.tobytes() == second.images.tobytes()
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1


def test_mistakes_are_named(tmp_path: Path) -> None:
    classes = np.full((5, 14), 7, np.uint8)
    assert "row 0 (from 0): label 0 is 7" in refused(archive(tmp_path, train_labels=classes))
    fewer = np.zeros((4, 14), np.uint8)
    assert "'train_images' has shape (5, 28, 28)" in refused(archive(tmp_path, train_labels=fewer))
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    assert "holds no array 'train_images'" in refused(tmp_path / "other.npz")
