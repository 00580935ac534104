"""What drift corrections add to the gradient of every local step: s (θ − anchor) + push."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from concilium.foundation.named_tensors import NamedTensors
from concilium.training.local import GradientTerm


def pull(
    anchor: NamedTensors, strength: float, push: NamedTensors | None = None
) -> GradientTerm | None:
    """The gradient of s/2 ‖θ − anchor‖² + ⟨push, θ⟩ over the anchor's tensors, s ≥ 0 the strength.

    None where there is nothing to add: training without a term is the same, bit for bit. Tensors
    of the network that do not travel are not in the anchor and stay free.
    """
    if not strength and push is None:
        return None
    push = anchor * 0.0 if push is None else push

    @cache
    def moved_to(device: torch.device) -> tuple[NamedTensors, NamedTensors]:
        """Anchor and push where the network computes: copied once a training, not once a step."""
        here, pushed = (each.map(lambda tensor: tensor.to(device)) for each in (anchor, push))
        return here, pushed

    def term(parameters: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        here, pushed = moved_to(next(iter(parameters.values())).device)
        return {n: strength * (parameters[n] - here[n]) + pushed[n] for n in here}

    return term


def remembered(extras: NamedTensors, model: NamedTensors) -> NamedTensors:
    """A memory with a tensor for each of the model's; zeros before anything is remembered."""
    return extras if extras else model * 0.0
