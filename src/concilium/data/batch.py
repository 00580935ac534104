"""A batch: what a network sees at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """``image`` (B, 1, H, W) float32 in [-1, 1], or features (B, d); ``target`` (B, L) float32 in
    [0, 1]; ``known`` (B, L) bool, which entries of the target count.
    """

    image: Tensor
    target: Tensor
    known: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device. A GPU is not waited for where the batch is pinned."""
        at_once = device.type == "cuda"
        return self._each(lambda tensor: tensor.to(device, non_blocking=at_once))

    def pinned(self) -> Batch:
        """A copy in page-locked memory, from which a GPU copies while it computes."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(function(self.image), function(self.target), function(self.known))
