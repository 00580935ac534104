"""What all architectures share: initial tensors from the seed alone, input shapes, memory order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from concilium.foundation import components
from concilium.foundation.checks import at_least, positive
from concilium.foundation.errors import ComponentError, InputError, Problem
from concilium.foundation.seeds import derive_seed
from concilium.networks.contract import Architecture, Network

Base = str | Mapping[str, Any]
"""Another network, by its name or as {name = …, and its settings}."""


def build_base(of: Base) -> Architecture:
    """Build the architecture that another one wraps. Raises ComponentError where it cannot be."""
    settings = {"name": of} if isinstance(of, str) else dict(of)
    if "name" not in settings:
        what = "'of' does not say which network to wrap"
        raise ComponentError(Problem("networks", what, "write of = {name = 'small_cnn'}"))
    base: Architecture = components.build("networks", settings.pop("name"), settings)
    return base


@contextmanager
def initial_tensors_from(seed: int) -> Iterator[None]:
    """Within it, what torch draws depends on the seed alone; afterwards torch's own state is back.

    torch's initialisers draw from the global generator, so this is the one place that sets it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "network"))
        yield


def in_channels_last(network: Network) -> Network:
    """The same network, its convolutions' kernels stored with the channel last.

    torch then runs all of it in that order, whatever the order of the images. Shapes, names and
    values are the same.
    """
    for parameter in network.parameters():
        if parameter.dim() == 4:
            # Not .contiguous(channels_last): it leaves kernels of one input channel as they are,
            # and the first convolution then hands on the default order.
            parameter.data = parameter.data.clone(memory_format=torch.channels_last)
    return network


def image_side(input_shape: tuple[int, ...], least: int) -> int:
    """Shorter side of images (1, H, W). Raises InputError for other shapes or smaller images."""
    if len(input_shape) != 3 or input_shape[0] != 1:
        raise InputError(
            f"this network takes gray images (1, height, width), not {input_shape}; "
            "choose mlp or linear for features"
        )
    side = min(input_shape[1:])
    at_least(least, image_side=side)
    return side


def feature_count(input_shape: tuple[int, ...]) -> int:
    """Number of features d of (d,). Raises InputError for other shapes."""
    if len(input_shape) != 1:
        raise InputError(
            f"this network takes features (d,), not {input_shape}; "
            "choose small_cnn, resnet18 or densenet121 for images"
        )
    positive(num_features=input_shape[0])
    return input_shape[0]
