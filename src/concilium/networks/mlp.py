"""A multilayer perceptron on features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from concilium.foundation.checks import positive
from concilium.networks._building import feature_count, initial_tensors_from
from concilium.networks.contract import Architecture, Network


@dataclass(frozen=True)
class MultilayerPerceptron(Architecture):
    """Layers linear → ReLU of the ``hidden`` sizes on features x (d,).

    Features arrive raw. With ``normalise`` a layer norm (mean 0, variance 1 over the d values of an
    image) comes first, because it needs no statistics of the data set, which would differ between
    hospitals.
    """

    hidden: tuple[int, ...] = (128,)
    normalise: bool = True

    def __post_init__(self) -> None:
        positive(**{f"hidden[{i}]": size for i, size in enumerate(self.hidden)})

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        sizes = (feature_count(input_shape), *self.hidden)
        with initial_tensors_from(seed):
            layers: list[nn.Module] = [nn.LayerNorm(sizes[0])] if self.normalise else []
            for before, after in pairwise(sizes):
                layers += [nn.Linear(before, after), nn.ReLU()]
            return Network(nn.Sequential(*layers), sizes[-1], num_labels)
