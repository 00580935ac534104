"""DenseNet-121 with group normalisation (MONAI's).

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks. CVPR 2017,
arXiv 1608.06993. Wu, He: Group Normalization. ECCV 2018, arXiv 1803.08494.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from concilium.foundation.checks import positive
from concilium.networks._building import image_side, in_channels_last, initial_tensors_from
from concilium.networks.contract import Architecture, Network


@dataclass(frozen=True)
class DenseNet121(Architecture):
    """DenseNet-121 for gray images of at least 32 px: 6.9 M parameters, 1024 features.

    ``num_groups`` is the number of groups in group normalisation; it must divide 32.
    """

    num_groups: int = 8

    def __post_init__(self) -> None:
        positive(num_groups=self.num_groups)

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        from monai.networks.nets.densenet import DenseNet121 as MonaiDenseNet121

        image_side(input_shape, least=32)
        with initial_tensors_from(seed):
            encoder = MonaiDenseNet121(
                spatial_dims=2,
                in_channels=1,
                out_channels=1,
                act=("relu", {"inplace": False}),
                norm=("group", {"num_groups": self.num_groups}),
            )
            encoder.class_layers.out = nn.Identity()
            network = Network(encoder, 1024, num_labels)
        return in_channels_last(network)
