"""Extracted features: of each hospital's own images, with the labels that it may know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.labels.states import State
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study
from concilium.studies.division import Division, divide
from concilium.studies.extraction import encode
from concilium.studies.feature_files import HospitalFeatures, extract
from concilium.studies.reading import parse_study


def study(folder: Path, of: Any = "iid") -> Study:
    """48 images of 16 px, 24 patients; each of two hospitals annotates two of three labels."""
    generator = np.random.default_rng(0)
    np.savez(
        folder / "images.npz",
        images=generator.integers(0, 255, (48, 16, 16), dtype=np.uint8),
        labels=(generator.random((48, 3)) < 0.4).astype(np.int8),
        label_names=np.array(["Mass", "Hernia", "Edema"]),
        patient=np.repeat(np.arange(24), 2),
    )
    content = {
        "title": "small",
        "data": {"source": {"name": "array_bundle", "files": [str(folder / "images.npz")]}},
        "split": {
            "hospitals": 2,
            "fractions": [0.5, 0.25, 0.25],
            "partitioner": {"name": "partial_annotation", "labels_per_hospital": 2, "of": of},
        },
        "network": {
            "architecture": {"name": "small_cnn", "width": 8, "depth": 1, "num_features": 4}
        },
        "methods": {"concilium": {}},
    }
    return parse_study(content, "small.toml")


def in_order(own: HospitalFeatures, division: Division, client: int) -> dict[str, np.ndarray]:
    """The table's rows of a hospital as the file has them, part after part."""
    parts = own.arrays["part"]
    rows = np.concatenate([division.rows(client, part) for part in division.parts])
    assert parts.tolist() == [division.parts[part] for part in division.split.part[rows]]
    return {"rows": rows, "test": parts == "test"}


def test_test_labels_are_all_there_and_others_where_the_hospital_annotates(tmp_path: Path) -> None:
    made = study(tmp_path)
    dataset = assembly.load_data(made, tmp_path)
    division = divide(dataset, made, 0)
    for client, own in enumerate(extract(made, tmp_path)):
        found = in_order(own, division, client)
        states, labels = dataset.table.states[found["rows"]], own.arrays["labels"]
        annotated = division.partition.annotated[client]
        assert 0 < found["test"].sum() < len(labels) and annotated.sum() == 2
        np.testing.assert_array_equal(labels[found["test"]], states[found["test"]])
        np.testing.assert_array_equal(labels[:, annotated], states[:, annotated])
        assert (labels[~found["test"]][:, ~annotated] == State.UNKNOWN).all()
        np.testing.assert_array_equal(own.arrays["known"], labels != State.UNKNOWN)


@pytest.mark.parametrize("of", ["iid", {"name": "acquisition_shift", "strength": 1.0}])
def test_features_are_those_of_the_images_that_the_hospital_took(tmp_path: Path, of: Any) -> None:
    made = study(tmp_path, of)
    dataset = assembly.load_data(made, tmp_path)
    division = divide(dataset, made, 0)
    network = assembly.encoder_of(made, dataset.form)
    parts = hospitals.parts_of(dataset, division, assembly.policy_of(made))
    for own in extract(made, tmp_path):
        images = [np.asarray(exams.images[:]) for exams in parts[own.hospital].values()]
        expected = encode(network, np.concatenate(images))
        np.testing.assert_allclose(own.arrays["features"], expected, atol=1e-5)
        assert expected.std() > 0
