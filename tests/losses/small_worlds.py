"""What the claims of losses are shown on: a linear model fitted to its minimum, and alerts."""

from __future__ import annotations

import torch
from torch import Tensor

from concilium.losses.contract import Loss


def fitted(loss: Loss, features: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """The weights (d + 1, L) of the linear model, its biases last, that minimise a loss."""
    design = with_one(features)
    known = torch.ones(target.shape, dtype=torch.bool) if known is None else known
    weights = torch.zeros(design.shape[1] * target.shape[1], dtype=torch.float64)
    slope = torch.ones_like(weights)
    for _ in range(12):  # Newton's method: 6 weights at most, and the losses are convex
        weights.requires_grad_()
        value = loss(design @ weights.reshape(-1, target.shape[1]), target, known)
        (slope,) = torch.autograd.grad(value, weights, create_graph=True)
        rows = [torch.autograd.grad(s, weights, retain_graph=True)[0] for s in slope]
        weights = (weights - torch.linalg.solve(torch.stack(rows), slope)).detach()
    assert slope.abs().max() < 1e-9
    return weights.reshape(-1, target.shape[1])


def with_one(features: Tensor) -> Tensor:
    """Features (N, d) and a column of 1."""
    return torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], 1)


def present(prevalence: float, num: int, generator: torch.Generator) -> Tensor:
    """A label (num,) that is present in this fraction of exams, exactly, at random places."""
    found = torch.zeros(num, dtype=torch.float64)
    found[torch.randperm(num, generator=generator)[: round(prevalence * num)]] = 1.0
    return found


def shown(target: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """A feature for each label: strength where it is present, plus standard normal noise."""
    noise = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    return strength * target + noise
