"""What newton asks: loss and gradient of the logistic objective, and its Hessian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._standardisation import Scale, labels_of
from concilium.heads._triangles import gram_triangles

MOST_OFFSET_STEPS = 100
"""Newton steps inside a bracket that halves: three or four are the rule, 60 halvings the worst."""


@dataclass(frozen=True)
class LossSums:
    """Loss (A,) and gradient (A, p) of the unpenalised objective."""

    loss: Tensor
    gradient: Tensor

    def __add__(self, other: LossSums) -> LossSums:
        return LossSums(self.loss + other.loss, self.gradient + other.gradient)


@dataclass(frozen=True)
class Place:
    """Where the objective is looked at: ``solution`` (A, p) for the ``labels`` (A,).

    p = d + 1 with a shared intercept in the last column; p = d where each hospital has an
    intercept of its own, which it solves for at that solution and keeps; p = 1 where only a shared
    intercept is asked for, beside a ``fixed`` weight (A, d).
    """

    model: NamedTensors
    scale: Scale
    solution: Tensor
    labels: tuple[int, ...]
    own_intercepts: bool = False
    fixed: Tensor | None = None

    def seen_by(self, client: Client) -> Seen:
        """A client's training exams at this place."""
        design = self.scale.design(torch.from_numpy(client.features(self.model, "train")))
        target, known = (part[:, list(self.labels)] for part in labels_of(client, "train"))
        if self.fixed is not None:
            score = design[:, :-1] @ self.fixed.T + self.solution[:, 0]
            return Seen(design[:, -1:], target, known, score)
        if not self.own_intercepts:
            return Seen(design, target, known, design @ self.solution.T)
        score = design[:, :-1] @ self.solution.T
        has_say = (target.sum(0) > 0) & ((known - target).sum(0) > 0)
        target, known = target * has_say, known * has_say
        return Seen(design[:, :-1], target, known, score + own_offsets(score, target, known))


@dataclass(frozen=True)
class Seen:
    """A client's ``design`` (N, p), and ``target``, ``known``, ``score`` (N, A)."""

    design: Tensor
    target: Tensor
    known: Tensor
    score: Tensor


@dataclass(frozen=True)
class LossRequest(Request[LossSums]):
    """What are loss and gradient at a place?

    With own intercepts they are those of the profile, min over the hospital's intercept: at the
    minimum its derivative by the intercept is 0, so the gradient by the weight is the plain one.
    """

    place: Place

    def answer(self, client: Client) -> LossSums:
        seen = self.place.seen_by(client)
        residual = seen.known * seen.score.sigmoid() - seen.target
        loss = (seen.known * softplus(seen.score) - seen.target * seen.score).sum(0)
        return LossSums(loss, residual.T @ seen.design)


@dataclass(frozen=True)
class HessianRequest(Request[Tensor]):
    """What is the Hessian at a place? Its upper triangles, (A, p(p+1)/2).

    With own intercepts it is the Schur complement H_ww − H_wb H_bb⁻¹ H_bw, which is Σ v (x − x̄)(x −
    x̄)ᵀ with v = p(1 − p) and x̄ the mean of x under v.
    """

    place: Place

    def answer(self, client: Client) -> Tensor:
        seen = self.place.seen_by(client)
        probability = seen.score.sigmoid()
        curvature = seen.known * probability * (1 - probability)
        return gram_triangles(seen.design, curvature, centred=self.place.own_intercepts)


@dataclass(frozen=True)
class LogisticLoss:
    """The loss of held-out entries; a value, for it is sent to hospitals."""

    def __call__(self, score: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Negative log-likelihood of each entry (N, A); 0 at an unknown one."""
        return known * softplus(score) - target * score


def own_offsets(score: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Intercepts b (A,) with Σ_i known σ(s_i + b) = Σ_i target, exact to 1e-12.

    Newton's steps inside a bracket: between log-odds − max s and log-odds − min s the sum passes
    through its target. 0 where a label has no positive or no negative: there b would run away.
    """
    present, absent = target.sum(0), (known - target).sum(0)
    has_say = (present > 0) & (absent > 0)
    if not bool(has_say.any()):
        return torch.zeros_like(present)
    log_odds = torch.where(has_say, present.log() - absent.log(), 0.0)
    infinite = torch.full_like(score, torch.inf)
    low = log_odds - torch.where(known > 0, score, -infinite).amax(0)
    high = log_odds - torch.where(known > 0, score, infinite).amin(0)
    low, high = torch.where(has_say, low, 0.0), torch.where(has_say, high, 0.0)
    offset = (low + high) / 2
    for _ in range(MOST_OFFSET_STEPS):
        probability = (score + offset).sigmoid()
        excess = (known * probability).sum(0) - present
        slope = (known * probability * (1 - probability)).sum(0)
        high, low = torch.where(excess > 0, offset, high), torch.where(excess <= 0, offset, low)
        newton = offset - excess / slope
        inside = (newton > low) & (newton < high)
        following = torch.where(inside, newton, (low + high) / 2)
        following = torch.where(has_say & (excess != 0), following, offset)
        moved = (following - offset).abs() > 1e-13 * (1 + offset.abs())
        offset = following
        if not bool(moved.any()):
            break
    return torch.where(has_say, offset, 0.0)
