"""Which tensors of a network travel, and which stay at home.

Those that train travel. What is frozen is the same everywhere already (from the seed or from a
weights file), and running statistics of normalisation layers neither add up nor allow differential
privacy.

A sharing rule may keep more at home. ``all_but_normalisation`` is FedBN: Li, Jiang, Zhang, Kamp,
Dou: "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021 (arXiv
2102.07623): scale and shift of every normalisation layer belong to the hospital, so each corrects
for its own scanners, and the rest is averaged. The paper keeps batch normalisation's running
statistics at home too; ours that train normalise by groups or layers and have none, and those of
efficientnet_lite0 are frozen: nothing trains them, so they are the same everywhere. As what stays
is not part of the model that travels, every algorithm works with the rule. A hospital that never
trained uses the initial tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from concilium.foundation.named_tensors import NamedTensors

Sharing = Literal["all", "all_but_normalisation"]

_NORMALISATION = (
    nn.GroupNorm,
    nn.LayerNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.InstanceNorm2d,
)


def travelling(network: nn.Module, sharing: Sharing = "all") -> NamedTensors:
    """A copy of the tensors that travel, on the CPU."""
    home = _at_home(network, sharing)
    return NamedTensors({n: _copy(p) for n, p in _training(network) if n not in home})


def private(network: nn.Module, sharing: Sharing) -> NamedTensors:
    """A copy of the tensors that train and stay at home, on the CPU."""
    home = _at_home(network, sharing)
    return NamedTensors({n: _copy(p) for n, p in _training(network) if n in home} if home else {})


def load(network: nn.Module, model: NamedTensors) -> None:
    """Copy all tensors that train into a network. Raises KeyError where the names differ."""
    own = dict(_training(network))
    if own.keys() != model.keys():
        raise KeyError(f"names differ: {sorted(own.keys() ^ model.keys())}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(model[name])


def _training(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((n, p) for n, p in network.named_parameters() if p.requires_grad)


def _at_home(network: nn.Module, sharing: Sharing) -> set[str]:
    if sharing == "all":
        return set()
    return {
        f"{place}.{name}" if place else name
        for place, layer in network.named_modules()
        if isinstance(layer, _NORMALISATION)
        for name, _ in layer.named_parameters(recurse=False)
    }


def _copy(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().cpu().clone()
