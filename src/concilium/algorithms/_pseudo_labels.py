"""Labels that a model proposes where a hospital has none."""

from __future__ import annotations

import torch
from torch import Tensor

from concilium.federation.client import Labels


def with_pseudo_labels(labels: Labels, present: Tensor, absent: Tensor) -> Labels:
    """Target and known (N, L) in which unknown entries take a pseudo-label; known ones stay.

    ``present`` and ``absent`` (N, L) bool are what is proposed; no entry is in both.

    >>> labels = (torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[True, False, False]]))
    >>> present, absent = torch.tensor([[True, True, False]]), torch.zeros(1, 3, dtype=torch.bool)
    >>> with_pseudo_labels(labels, present, absent)
    (tensor([[0., 1., 0.]]), tensor([[ True,  True, False]]))
    """
    target, known = labels
    proposed = (present | absent) & ~known
    return torch.where(proposed, present.to(target.dtype), target), known | proposed
