"""A frozen encoder's features: kept once, for these data and this encoder and no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from concilium.data.dataset import Dataset
from concilium.networks.contract import Network
from concilium.networks.small_cnn import SmallCNN
from concilium.sources.phantom import Phantom
from concilium.studies.extraction import encode, with_features


@pytest.fixture(scope="module")
def phantom() -> Dataset:
    return Phantom(num_exams=12, image_size=32).load(Path("unused"))


@pytest.fixture(scope="module")
def network() -> Network:
    return SmallCNN(width=8, depth=1, num_features=4).build((1, 32, 32), 14, 0)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def test_features_are_the_encoders_and_are_kept(
    phantom: Dataset, network: Network, tmp_path: Path
) -> None:
    first = with_features(phantom, network, "a", tmp_path)
    assert np.array_equal(first.images, encode(network, phantom.images))
    before = files(tmp_path)[0].stat().st_mtime_ns
    second = with_features(phantom, network, "a", tmp_path)
    assert np.array_equal(first.images, second.images)
    assert [path.stat().st_mtime_ns for path in files(tmp_path)] == [before]


def test_other_settings_other_tensors_and_other_data_are_other_features(
    phantom: Dataset, network: Network, tmp_path: Path
) -> None:
    """Settings count by themselves: the size that images are brought to is no tensor."""
    pooled = Network(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), 256, 14)
    finer = Network(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), 64, 14)
    assert with_features(phantom, pooled, "2", tmp_path).images.shape == (12, 256)
    assert with_features(phantom, finer, "4", tmp_path).images.shape == (12, 64)
    with_features(phantom, network, "a", tmp_path)
    with_features(phantom, SmallCNN(8, 1, 4).build((1, 32, 32), 14, 1), "a", tmp_path)
    other = Phantom(num_exams=12, image_size=32, seed=1).load(tmp_path)
    with_features(other, network, "a", tmp_path)
    assert len(files(tmp_path)) == 5


@pytest.mark.parametrize("damage", ["zeroed", "cut", "no checksum"])
def test_a_damaged_file_is_made_again(
    phantom: Dataset, network: Network, tmp_path: Path, damage: str
) -> None:
    expected = with_features(phantom, network, "a", tmp_path).images
    (path,) = files(tmp_path)
    content = path.read_bytes()
    if damage == "no checksum":
        path.with_suffix(".sha256").unlink()
    path.write_bytes(content[:-20] + bytes(20 if damage == "zeroed" else 0))
    assert np.array_equal(with_features(phantom, network, "a", tmp_path).images, expected)
