"""Which tensors of a network travel.

Those that train do. What is frozen is the same everywhere already (from the seed or from a weights
file), and statistics of normalisation layers neither add up nor allow differential privacy.
"""

from __future__ import annotations

import torch
from torch import nn

from concilium.foundation.named_tensors import NamedTensors


def travelling(network: nn.Module) -> NamedTensors:
    """A copy of the tensors that travel, on the CPU."""
    return NamedTensors(
        {n: p.detach().cpu().clone() for n, p in network.named_parameters() if p.requires_grad}
    )


def load(network: nn.Module, model: NamedTensors) -> None:
    """Copy a model that travelled into a network. Raises KeyError where the names differ."""
    own = {n: p for n, p in network.named_parameters() if p.requires_grad}
    if own.keys() != model.keys():
        raise KeyError(f"names differ: {sorted(own.keys() ^ model.keys())}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(model[name])
