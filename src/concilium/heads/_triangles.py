"""Weighted Gram matrices, one a label, sent as their upper triangles: a client's largest sums."""

from __future__ import annotations

import torch
from torch import Tensor


def gram_triangles(design: Tensor, weight: Tensor, centred: bool = False) -> Tensor:
    """Upper triangles (A, p(p+1)/2) of Σ_i v_il x_i x_iᵀ, for each column of a weight (N, A) ≥ 0.

    ``design`` (N, p). ``centred``: x less its mean under the weights of the label, which is the
    Schur complement of an intercept's column. A column that weighs all rows alike (a label that is
    known everywhere, at a constant probability) shares one Gram matrix with all such columns.
    """
    alike = (weight == weight[:1]).all(0)
    common = weight[:1].sum(0)  # 0 where there is no row
    whole = _triangle(_centred(design, None) if centred else design) if bool(alike.any()) else None
    found = []
    for column, is_alike, value in zip(weight.T, alike, common, strict=True):
        if is_alike and whole is not None:
            found.append(value * whole)
        else:
            rows = _centred(design, column) if centred else design
            found.append(_triangle(rows * column.sqrt()[:, None]))
    empty = torch.zeros(0, design.shape[1] * (design.shape[1] + 1) // 2, dtype=torch.float64)
    return torch.stack(found) if found else empty


def full(triangles: Tensor, size: int) -> Tensor:
    """Symmetric matrices (A, p, p) of upper triangles (A, p(p+1)/2), row after row."""
    rows, columns = torch.triu_indices(size, size)
    matrices = torch.zeros(len(triangles), size, size, dtype=triangles.dtype)
    matrices[:, rows, columns] = triangles
    matrices[:, columns, rows] = triangles
    return matrices


def _triangle(rows: Tensor) -> Tensor:
    gram = rows.T @ rows
    return gram[tuple(torch.triu_indices(*gram.shape))]


def _centred(design: Tensor, weight: Tensor | None) -> Tensor:
    """The rows less their mean under a weight (N,), or their plain mean."""
    if weight is None:
        return design - design.sum(0) / max(len(design), 1)
    # Where all weights are 0 so is the Gram matrix, whatever is subtracted.
    tiny = torch.finfo(weight.dtype).tiny
    return design - (weight @ design) / weight.sum().clamp_min(tiny)
