"""Newton's method that asks for Hessians rarely: many steps by one factorised Hessian.

Shamanskii, "A modification of Newton's method", Ukrainian Mathematical Journal 1967; Kelley,
"Iterative Methods for Linear and Nonlinear Equations", SIAM 1995, section 5.4 (chord steps): with a
stale Hessian the optimum is the same, reached linearly instead of quadratically fast. The server
corrects it by what the gradients since then have shown of the curvature (BFGS), which costs no
exchange and halves their number. A Hessian is d/2 times a gradient's bytes and d/4 times its work,
so a fresh one is asked for only where a step is refused, or is more than half as long as the step
before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.federation.requests import Request
from concilium.foundation.errors import DivergenceError
from concilium.heads._logistic import LossSums
from concilium.heads._triangles import full
from concilium.heads.contract import Ask

HAIR = 1e-10
"""Added to the diagonal of a Hessian: a separable label's intercept has nearly no curvature."""

SLOW = 0.5
"""A step longer than this part of the one before asks for a fresh Hessian."""

ROUNDING = 1e-12
"""Relative rounding of a summed loss, below which it cannot be said to have risen."""


@dataclass(frozen=True)
class Point:
    """Where a descent stands, a row for each of A objectives; all of it without the penalty.

    ``solution`` and ``gradient`` (A, p), ``loss`` (A,), and the last ``hessian`` (A, p, p) that was
    asked for, NaN where none was. ``moving`` rows were still on their way when rounds ran out.
    """

    solution: Tensor
    loss: Tensor
    gradient: Tensor
    hessian: Tensor
    moving: int = 0


@dataclass(frozen=True)
class Descent:
    """Minimises A objectives at once, each plus Σ_j penalty_j w_j² / 2, in shared exchanges.

    ``losses`` and ``hessians`` make the request for some rows (a,) at a solution (a, p).
    ``tolerance`` ends a row when no coefficient would move by more; ``max_rounds`` bounds the
    exchanges of losses. No accepted step raises the objective.
    """

    ask: Ask
    losses: Callable[[Tensor, Tensor], Request[LossSums]]
    hessians: Callable[[Tensor, Tensor], Request[Tensor]]
    tolerance: float
    max_rounds: int

    def begin(self, solution: Tensor) -> Point:
        """The point at a solution (A, p)."""
        sums = self.ask(self.losses(solution, torch.arange(len(solution))))
        width = solution.shape[1]
        none = torch.full((len(solution), width, width), torch.nan, dtype=torch.float64)
        return Point(solution, sums.loss, sums.gradient, none)

    def run(self, start: Point, penalty: Tensor) -> Point:
        """The minimum under a penalty (p,), from the point of another one or the first."""
        walk = _Walk(self, start, penalty)
        for _ in range(self.max_rounds):
            if not walk.aim():
                break
            walk.move()
        return walk.point()


@dataclass(frozen=True)
class Secant:
    """How the gradient changed (p,) over a step (p,): what BFGS learns of the Hessian from it."""

    moved: Tensor
    change: Tensor


def corrected(
    factors: tuple[Tensor, Tensor], secants: Sequence[Secant], gradient: Tensor
) -> Tensor:
    """The quasi-Newton step (p,): the factorised Hessian, corrected by each secant since (BFGS).

    Nocedal, "Updating Quasi-Newton Matrices with Limited Storage", Mathematics of Computation 1980
    (the two loops). With no secant it is the chord's step.
    """
    rest, shares = gradient.clone(), []
    for own in reversed(secants):
        share = (own.moved @ rest) / (own.moved @ own.change)
        rest -= share * own.change
        shares.append(share)
    step: Tensor = torch.linalg.lu_solve(*factors, rest[:, None])[:, 0]
    for own, share in zip(secants, reversed(shares), strict=True):
        step += own.moved * (share - (own.change @ step) / (own.moved @ own.change))
    return step


class _Walk:
    """One run of a descent: its state, row by row, and the two halves of an iteration."""

    def __init__(self, descent: Descent, start: Point, penalty: Tensor) -> None:
        self.descent, self.penalty = descent, penalty
        self.solution, self.gradient = start.solution.clone(), start.gradient.clone()
        self.loss, self.hessian = start.loss.clone(), start.hessian.clone()
        rows = len(self.solution)
        self.fresh = torch.zeros(rows, dtype=torch.bool)
        self.stale = self.hessian.isnan().flatten(1).any(1)
        self.damping = torch.ones(rows, dtype=torch.float64)
        self.last = torch.full((rows,), torch.inf, dtype=torch.float64)
        self.step = torch.zeros_like(self.solution)
        self.active = torch.arange(rows)
        self.factors: dict[int, tuple[Tensor, Tensor]] = {}
        self.secants: dict[int, list[Secant]] = {row: [] for row in range(rows)}

    def aim(self) -> bool:
        """Each active row's next step, by a fresh Hessian where needed; whether any is left."""
        self._renew(self.active[(self.stale & ~self.fresh)[self.active]])
        self._set_steps(self.active)
        too_long = self.step.abs().amax(1) > SLOW * self.last
        slow = self.active[(too_long & ~self.fresh)[self.active]]
        self._renew(slow)
        self._set_steps(slow)
        self._drop_arrived()
        return len(self.active) > 0

    def move(self) -> None:
        """Take the steps that do not raise the objective; refuse the others."""
        rows = self.active
        proposal = self.solution[rows] - self.damping[rows, None] * self.step[rows]
        sums = self.descent.ask(self.descent.losses(proposal, rows))
        before = self._penalised(self.loss[rows], self.solution[rows])
        after = self._penalised(sums.loss, proposal)
        good = after <= before + ROUNDING * before.abs()
        taken, refused = rows[good], rows[~good]
        self._learn(taken, proposal[good], sums.gradient[good])
        self.solution[taken] = proposal[good]
        self.loss[taken], self.gradient[taken] = sums.loss[good], sums.gradient[good]
        self.last[taken] = self.step[taken].abs().amax(1)
        self.damping[taken] = 1.0
        self.fresh[taken] = self.stale[taken] = False
        # A stale Hessian is replaced first; only Newton's own step is halved.
        self.damping[refused] /= torch.where(self.fresh[refused], 2.0, 1.0)
        self.stale[refused] = True

    def point(self) -> Point:
        """Where the walk stands."""
        self._set_steps(self.active)
        self._drop_arrived()
        return Point(self.solution, self.loss, self.gradient, self.hessian, len(self.active))

    def _drop_arrived(self) -> None:
        moves = self.step.abs().amax(1) > self.descent.tolerance
        self.active = self.active[moves[self.active]]

    def _renew(self, rows: Tensor) -> None:
        """Ask for the Hessians of some rows at their solutions."""
        if not len(rows):
            return
        triangles = self.descent.ask(self.descent.hessians(self.solution[rows], rows))
        self.hessian[rows] = full(triangles, self.solution.shape[1])
        self.fresh[rows] = True
        for row in rows.tolist():
            self.factors.pop(row, None)
            self.secants[row].clear()

    def _learn(self, rows: Tensor, to: Tensor, gradient: Tensor) -> None:
        """Note how the penalised gradient changed on the way to the solutions ``to`` (a, p)."""
        for place, row in enumerate(rows.tolist()):
            moved = to[place] - self.solution[row]
            change = gradient[place] - self.gradient[row] + self.penalty * moved
            if float(moved @ change) > 0:
                self.secants[row].append(Secant(moved, change))

    def _set_steps(self, rows: Tensor) -> None:
        total = self.gradient + self.penalty * self.solution
        for row in rows.tolist():
            if row not in self.factors:
                damped = self.hessian[row] + torch.diag(self.penalty + HAIR)
                # Without a check of its own: a singular one gives a step that is not finite.
                factors, pivots, _ = torch.linalg.lu_factor_ex(damped)
                self.factors[row] = factors, pivots
            self.step[row] = corrected(self.factors[row], self.secants[row], total[row])
        if not bool(self.step[rows].isfinite().all()):
            raise DivergenceError(
                "the exact head cannot be solved: summed gradients and Hessians give no finite step"
            )

    def _penalised(self, loss: Tensor, solution: Tensor) -> Tensor:
        return loss + (self.penalty * solution.square()).sum(1) / 2
