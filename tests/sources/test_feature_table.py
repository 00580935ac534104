"""Frozen features: read as they are, seeds averaged, nothing that is not a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.foundation.errors import InputError
from concilium.labels.states import State
from concilium.sources.feature_table import FeatureTable, average_seeds

GENERATOR = np.random.default_rng(0)
FEATURES = GENERATOR.normal(size=(6, 5)).astype(np.float32)
LABELS = GENERATOR.integers(0, 2, (6, 2), dtype=np.uint8)
LABELS[0] = 1


def archive(folder: Path, **arrays: Any) -> Path:
    content: dict[str, Any] = {"labels": LABELS, "label_names": np.array(["Mass", "Edema"])}
    content |= {"patient": np.array([7, 7, 1, 2, 3, 3])}
    np.savez(folder / "features.npz", **(content | arrays))
    return folder / "features.npz"


def refused(file: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        FeatureTable(file, **settings).load(file.parent)
    return str(caught.value)


def test_features_are_as_they_are(tmp_path: Path) -> None:
    data = FeatureTable(archive(tmp_path, features=FEATURES, sex=np.array(list("FMFMFM")))).load(
        tmp_path
    )
    assert np.array_equal(data.images, FEATURES)
    assert data.images.dtype == np.float32
    assert data.input_shape == (5,)
    assert np.array_equal(data.table.states, LABELS)
    assert data.table.patient.tolist() == [0, 0, 1, 2, 3, 3]
    assert data.table.covariates["sex"].tolist() == list("FMFMFM")
    assert data.notes["features"].startswith("frozen features")
    assert "frozen features" in data.title


def test_seeds_are_averaged_and_architectures_stand_side_by_side() -> None:
    logits = GENERATOR.normal(size=(5, 6, 2))
    models = np.array(["vgg_seed0", "resnet18_seed0", "vgg_seed1", "resnet18_seed1", "vit"])
    features, names = average_seeds(logits, models)
    assert names == ("vgg", "resnet18", "vit")
    assert features.shape == (6, 6)
    assert np.allclose(features[:, :2], (logits[0] + logits[2]) / 2)
    assert np.allclose(features[:, 2:4], (logits[1] + logits[3]) / 2)
    assert np.allclose(features[:, 4:], logits[4])


def test_the_order_of_the_seeds_does_not_matter() -> None:
    logits = GENERATOR.normal(size=(6, 4, 3)).astype(np.float16)
    models = np.array([f"a_seed{i}" for i in range(3)] + [f"b_seed{i}" for i in range(3)])
    order = [2, 0, 1, 5, 3, 4]
    one, _ = average_seeds(logits, models)
    other, _ = average_seeds(logits[order], models[order])
    assert np.array_equal(one, other), "sums of half floats are exact in double precision"


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({}, "holds no array 'features'"),
        ({"features": FEATURES[:5]}, "'features' has shape (5, 5)"),
        ({"features": FEATURES[:, 0]}, "give numbers of shape (N, d)"),
        ({"logits": np.zeros((2, 6, 2)), "model": np.array(["a"])}, "'model' (1,)"),
        ({"logits": np.zeros((2, 5, 2)), "model": np.array(["a", "b"])}, "5 feature vectors and 6"),
        ({"features": FEATURES.astype(object)}, "holds Python objects"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    assert expected in refused(archive(tmp_path, **arrays))


def test_a_feature_that_is_not_a_number_is_refused_with_row_and_column(tmp_path: Path) -> None:
    features = FEATURES.copy()
    features[2, 3], features[5, 0] = np.nan, np.inf
    message = refused(archive(tmp_path, features=features))
    assert "features.npz, row 2 (from 0): feature 3 is NaN or infinite" in message
    assert "row 5 (from 0): feature 0" in message


def test_labels_are_checked_against_a_vocabulary(tmp_path: Path) -> None:
    file = archive(tmp_path, features=FEATURES, label_names=np.array(["Mass", "Edma"]))
    assert "did you mean 'Edema'?" in refused(file, vocabulary="nih")


@pytest.mark.slow
def test_the_real_outputs_become_112_features(real_data: Path, tmp_path: Path) -> None:
    # 8 architectures (5 seeds each) × 14 labels.
    data = FeatureTable(real_data / "casp_nih28_test_logits.npz", vocabulary="nih").load(tmp_path)
    assert data.images.shape == (25596, 112)
    assert np.isfinite(data.images).all()
    with np.load(real_data / "casp_nih28_test_logits.npz") as stored:
        first = [str(name).startswith("densenet121_") for name in stored["model"]]
        mean = stored["logits"][first].astype(np.float64).mean(axis=0)
    assert sum(first) == 5
    assert np.allclose(data.images[:, :14], mean, atol=1e-5)


def test_an_array_known_makes_what_it_denies_unknown(tmp_path: Path) -> None:
    known = np.ones((6, 2), np.bool_)
    known[2:4, 1] = False
    states = FeatureTable(archive(tmp_path, features=FEATURES, known=known)).load(tmp_path).table
    assert (states.states[~known] == State.UNKNOWN).all()
    assert np.array_equal(states.states[known], LABELS[known])
    assert "array 'known'" in refused(archive(tmp_path, features=FEATURES, known=known[:3]))
