"""ResNet-18 with group normalisation (MONAI's).

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv 1512.03385.
Wu, He: Group Normalization. ECCV 2018, arXiv 1803.08494.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from concilium.foundation.checks import positive
from concilium.networks._building import image_side, in_channels_last, initial_tensors_from
from concilium.networks.contract import Architecture, Network


@dataclass(frozen=True)
class ResNet18(Architecture):
    """ResNet-18 for gray images of at least 32 px: 11.2 M parameters, 512 features.

    ``num_groups`` is the number of groups in group normalisation; it must divide 64.
    """

    num_groups: int = 8

    def __post_init__(self) -> None:
        positive(num_groups=self.num_groups)

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        from monai.networks.nets.resnet import resnet18

        image_side(input_shape, least=32)
        with initial_tensors_from(seed):
            encoder = resnet18(
                spatial_dims=2,
                n_input_channels=1,
                conv1_t_stride=2,  # MONAI's default of 1 is for volumes
                feed_forward=False,
            )
            # MONAI hands neither its norm nor its act setting on to the blocks.
            _replace_batch_norm(encoder, self.num_groups)
            network = Network(encoder, 512, num_labels)
        return in_channels_last(network)


def _replace_batch_norm(module: nn.Module, num_groups: int) -> None:
    """Group norm for every batch norm, and activations that overwrite nothing, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(num_groups, child.num_features, eps=child.eps))
        elif isinstance(child, nn.ReLU):
            child.inplace = False
        else:
            _replace_batch_norm(child, num_groups)
