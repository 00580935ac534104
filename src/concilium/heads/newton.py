"""Federated Newton: the logistic head that pooled data would give, from sums alone.

For each label l, over all known training exams of all hospitals, it minimises

    F_l(w, b) = Σ_i [softplus(z_i) − y_i z_i] + λ/2 ‖w‖²,   z_i = w·x_i + b,   b unpenalised

with x the standardised encoder output. A client sends g = Xᵀ(p − y), H = Xᵀ diag(p(1 − p)) X and
the loss at the shared (w, b); the server steps by (ΣH + λI)⁻¹(Σg + λw). That is iteratively
reweighted least squares (Green, "Iteratively Reweighted Least Squares for Maximum Likelihood
Estimation", JRSS B 1984), distributed as in Wu, Jiang, Kim, Ohno-Machado, "Grid Binary LOgistic
REgression (GLORE)", JAMIA 2012. Soft targets are allowed. Standardisation comes from summed
moments, λ from the summed negative log-likelihood of the validation parts; both matter.

The optimum is theirs; the way differs, for a Hessian is nearly all of the cost. It is used for many
steps and for the next λ, which needs no exchange to begin with, and a fresh one is asked for only
where progress is slow (``heads/_descent.py``); of a symmetric matrix one triangle is sent. A step
that would raise F is halved.

``site_intercepts`` gives each hospital an intercept of its own for each label, as columns that say
which hospital an exam comes from would: how common a finding is at a hospital then says nothing of
what it looks like (conditional on the hospital, after Neyman, Scott, "Consistent Estimates Based on
Partially Consistent Observations", Econometrica 1948, without their bias as hospitals are few and
large). A hospital solves for its intercept at the shared w, and sends the profile's loss and
gradient and the Schur complement H_ww − H_wb H_bb⁻¹ H_bw: sums still, and its intercept stays. One
without a positive or without a negative of a label has no say on it: its intercept would run away
and explain everything. The model has one bias: the shared one that fits best at that w, over all
hospitals' exams, for hospitals that have none of their own.

Sends: summed moments, then the summed loss and gradient (L·d numbers) in every exchange, and in
  some of them the upper triangles of L Hessians (L·d(d+1)/2 numbers).
Costs: some ten exchanges a penalty, of L·d numbers; a Hessian, of L·d²/2, about twice in three
  penalties. No pass through the encoder after the first: its outputs are kept.
Secure sum: yes, the server needs totals only.
Differential privacy: no, its sums are not clipped; noise on a Hessian of d² numbers costs much.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.foundation.checks import at_least, positive
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._descent import Descent, Point
from concilium.heads._held_out import check_penalties, choose
from concilium.heads._logistic import HessianRequest, LogisticLoss, LossRequest, Place
from concilium.heads._standardisation import Moments, MomentsRequest, Scale, rows_of
from concilium.heads.contract import Ask, Head, Solution


@dataclass(frozen=True)
class Newton(Head):
    """``penalties``: the λ to choose from, by the summed validation loss (one: no choice is made).

    ``tolerance`` ends the iterations when no coefficient moves by more; ``max_rounds`` bounds the
    exchanges of losses for each λ. A label without a positive or without a negative in training
    keeps its old row; with ``site_intercepts``, one that no hospital has both of.
    """

    penalties: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    tolerance: float = 1e-7
    max_rounds: int = 50
    site_intercepts: bool = False

    def __post_init__(self) -> None:
        check_penalties(self.penalties)
        at_least(1, max_rounds=self.max_rounds)
        positive(tolerance=self.tolerance)

    def solution(self, ask: Ask, model: NamedTensors) -> Solution:
        moments = ask(MomentsRequest(model))
        solved = moments.both
        if self.site_intercepts:
            solved = solved & (moments.contrasted > 0)
        rows = solved.nonzero().flatten()
        if not len(rows):
            empty = torch.zeros_like(model["head.weight"], dtype=torch.float64)
            return Solution(empty, empty[:, 0], solved, {"held_out_loss": []})
        scale = Scale.of(moments)
        objective = _Objective(ask, model, scale, rows, self)
        paths, moving = objective.paths(moments)
        labels = tuple(rows.tolist())
        best, held_out = choose(ask, model, scale, paths, labels, LogisticLoss())
        weight, bias = scale.fold(rows_of(paths[best], rows, len(solved)))
        report: dict[str, float | list[float] | list[str]] = {
            "penalty": sorted(self.penalties, reverse=True)[best],
            "held_out_loss": held_out,
            "not_converged": float(moving),
        }
        return Solution(weight, bias, solved, report)


@dataclass(frozen=True)
class _Objective:
    """The logistic objectives of the labels (A,) that can be solved."""

    ask: Ask
    model: NamedTensors
    scale: Scale
    labels: Tensor
    head: Newton

    def paths(self, moments: Moments) -> tuple[Tensor, int]:
        """Solutions (S, A, d+1), from the largest λ to the smallest, each starting at the last.

        With how many of them were still moving when their exchanges ran out.
        """
        own = self.head.site_intercepts
        num_features = len(self.scale.mean)
        log_odds = moments.log_odds()[self.labels, None]
        start = torch.zeros(len(self.labels), num_features, dtype=torch.float64)
        ridge = torch.ones(num_features, dtype=torch.float64)
        if not own:
            start, ridge = torch.cat([start, log_odds], 1), torch.cat([ridge, ridge.new_zeros(1)])
        descent = self._descent(own)
        point, found, moving = descent.begin(start), [], 0
        for penalty in sorted(self.head.penalties, reverse=True):
            point = descent.run(point, penalty * ridge)
            found.append(point.solution)
            moving += point.moving
        if not own:
            return torch.stack(found), moving
        shared = self._shared_intercepts(torch.cat(found), log_odds.repeat(len(found), 1))
        solutions = torch.cat([torch.cat(found), shared.solution], 1)
        return solutions.reshape(len(found), len(self.labels), -1), moving + shared.moving

    def _shared_intercepts(self, weight: Tensor, start: Tensor) -> Point:
        """The bias (S·A, 1) that fits best beside each weight (S·A, d), over all hospitals."""
        descent = self._descent(False, weight)
        return descent.run(descent.begin(start), torch.zeros(1, dtype=torch.float64))

    def _descent(self, own_intercepts: bool, fixed: Tensor | None = None) -> Descent:
        def place(solution: Tensor, rows: Tensor) -> Place:
            labels = tuple(self.labels[rows % len(self.labels)].tolist())
            beside = None if fixed is None else fixed[rows]
            return Place(self.model, self.scale, solution, labels, own_intercepts, beside)

        return Descent(
            self.ask,
            lambda solution, rows: LossRequest(place(solution, rows)),
            lambda solution, rows: HessianRequest(place(solution, rows)),
            self.head.tolerance,
            self.head.max_rounds,
        )
