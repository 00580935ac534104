"""Ridge regression of ±1 on standardised features from sums, whatever an entry weighs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._held_out import choose
from concilium.heads._standardisation import Moments, Scale, labels_of, rows_of
from concilium.heads._triangles import full, gram_triangles
from concilium.heads.contract import Ask, Solution


@dataclass(frozen=True)
class EntryWeights:
    """What a positive and a negative entry of each label weigh, both (A,).

    An entry with a soft target y is y of a positive (t = +1) and 1 − y of a negative (t = −1).
    """

    positive: Tensor
    negative: Tensor

    def split(self, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """The weights (N, A) of each entry as a positive and as a negative; 0 where unknown."""
        return target * self.positive, (known - target) * self.negative

    def __call__(self, score: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Weighted squared error (N, A) of scores."""
        present, absent = self.split(target, known)
        return present * (score - 1).square() + absent * (score + 1).square()


@dataclass(frozen=True)
class Squares:
    """Upper triangles of XᵀDX (A, (d+1)(d+2)/2) and XᵀDt (A, d+1)."""

    gram: Tensor
    moment: Tensor

    def __add__(self, other: Squares) -> Squares:
        return Squares(self.gram + other.gram, self.moment + other.moment)


@dataclass(frozen=True)
class SquaresRequest(Request[Squares]):
    """What are XᵀDX and XᵀDt of the training exams, for the ``labels`` (A,)?"""

    model: NamedTensors
    scale: Scale
    weights: EntryWeights
    labels: tuple[int, ...]

    def answer(self, client: Client) -> Squares:
        design = self.scale.design(torch.from_numpy(client.features(self.model, "train")))
        target, known = (part[:, list(self.labels)] for part in labels_of(client, "train"))
        present, absent = self.weights.split(target, known)
        return Squares(gram_triangles(design, present + absent), (present - absent).T @ design)


def least_squares(
    ask: Ask,
    model: NamedTensors,
    moments: Moments,
    weights: EntryWeights,
    penalties: tuple[float, ...],
) -> Solution:
    """(XᵀDX + λI)⁻¹ XᵀDt of each label with a positive and a negative, intercept unpenalised.

    ``weights`` (L,). λ is that of ``penalties`` with the least weighted squared error over the
    validation parts.
    """
    solved = moments.both
    rows = solved.nonzero().flatten()
    if not len(rows):
        empty = torch.zeros_like(model["head.weight"], dtype=torch.float64)
        return Solution(empty, empty[:, 0], solved, {"held_out_loss": []})
    scale, labels = Scale.of(moments), tuple(rows.tolist())
    own = EntryWeights(weights.positive[rows], weights.negative[rows])
    falling = sorted(penalties, reverse=True)
    squares = ask(SquaresRequest(model, scale, own, labels))
    solutions = _solutions(squares, falling)
    best, held_out = choose(ask, model, scale, solutions, labels, own)
    weight, bias = scale.fold(rows_of(solutions[best], rows, len(solved)))
    report: dict[str, float | list[float] | list[str]] = {
        "penalty": falling[best],
        "held_out_loss": held_out,
    }
    return Solution(weight, bias, solved, report)


def _solutions(squares: Squares, penalties: list[float]) -> Tensor:
    """Solutions (S, A, d+1), one a penalty."""
    width = squares.moment.shape[1]
    gram = full(squares.gram, width)
    ridge = torch.ones(width, dtype=torch.float64)
    ridge[-1] = 0.0
    found = torch.zeros(len(penalties), len(gram), width, dtype=torch.float64)
    # Not as one batch: its LU is many times slower, and MKL grumbles at it.
    for place, penalty in enumerate(penalties):
        for label, (own, moment) in enumerate(zip(gram, squares.moment, strict=True)):
            found[place, label] = torch.linalg.solve(own + torch.diag(penalty * ridge), moment)
    return found
