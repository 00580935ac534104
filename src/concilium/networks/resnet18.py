"""ResNet-18 with group normalisation (MONAI's).

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv 1512.03385.
Wu, He: Group Normalization. ECCV 2018, arXiv 1803.08494.
"""

from __future__ import annotations

from dataclasses import dataclass

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
                act=("relu", {"inplace": False}),
                norm=("group", {"num_groups": self.num_groups}),
            )
            network = Network(encoder, 512, num_labels)
        return in_channels_last(network)
