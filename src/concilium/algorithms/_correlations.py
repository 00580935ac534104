"""How a model's probabilities of labels go together, and which labels that joins."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-6  # keeps phi's divisor from 0


def soft_phi(probability: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Phi (L, L) of probabilities (B, L), and the images (L, L) on which both labels are known.

    0 where there is no such image. No gradient reaches an entry that is not known.
    """
    mask = known.to(probability.dtype)
    masked = torch.where(known, probability, torch.zeros_like(probability))
    pairs = mask.T @ mask
    divisor = pairs.clamp_min(1)
    first = masked.T @ mask / divisor
    second = first.T
    covariance = masked.T @ masked / divisor - first * second
    variances = first * (1 - first) * second * (1 - second)
    # Clamped, since the root has no finite derivative at 0, where rounding may even go below.
    return covariance / (variances.clamp_min(_EPSILON**2).sqrt() + _EPSILON), pairs


def related_pairs(correlation: Tensor, threshold: float) -> Tensor:
    """Pairs (L, L) of two labels that a chain of correlations beyond the threshold joins."""
    num_labels = len(correlation)
    itself = torch.eye(num_labels, dtype=torch.bool, device=correlation.device)
    joined = (correlation.abs() > threshold) | itself  # NaN is not beyond it
    for _ in range(num_labels.bit_length()):  # each pass doubles the length of the chains
        joined = (joined.float() @ joined.float()) > 0
    return joined & ~itself & ~correlation.isnan()
