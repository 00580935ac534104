"""A batch: what a network sees at once."""

from __future__ import annotations

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
        """The same batch on a device."""
        return Batch(self.image.to(device), self.target.to(device), self.known.to(device))
