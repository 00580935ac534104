"""A linear model on features: the head alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from concilium.networks._building import feature_count, initial_tensors_from
from concilium.networks.contract import Architecture, Network


@dataclass(frozen=True)
class Linear(Architecture):
    """z = W x + b of features x (d,) as they are: features of very unequal scale learn slowly."""

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        num_features = feature_count(input_shape)
        with initial_tensors_from(seed):
            return Network(nn.Identity(), num_features, num_labels)
