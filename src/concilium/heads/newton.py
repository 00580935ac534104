"""Federated Newton: the logistic head that pooled data would give, from sums alone.

For each label l, over all known training exams of all hospitals, it minimises

    F_l(w, b) = Σ_i [softplus(z_i) − y_i z_i] + λ/2 ‖w‖²,   z_i = w·x_i + b,   b unpenalised

with x the standardised encoder output. A client sends g = Xᵀ(p − y), H = Xᵀ diag(p(1 − p)) X and
the loss at the shared (w, b); the server steps by (ΣH + λI)⁻¹(Σg + λw), halving a step that
overshoots. That is iteratively reweighted least squares (Green, "Iteratively Reweighted Least
Squares for Maximum Likelihood Estimation", JRSS B 1984), distributed as in Wu, Jiang, Kim,
Ohno-Machado, "Grid Binary LOgistic REgression (GLORE)", JAMIA 2012. Soft targets are allowed.
Standardisation comes from summed moments, λ from the summed negative log-likelihood of the
validation parts; both matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.foundation.checks import at_least, positive
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._standardisation import Moments, MomentsRequest, Scale, labels_of
from concilium.heads.contract import Ask, Head, Solved


@dataclass(frozen=True)
class HeadSums:
    """Loss (L,), gradient (L, d+1) and Hessian (L, d+1, d+1) of the unpenalised objective."""

    loss: Tensor
    gradient: Tensor
    hessian: Tensor

    def __add__(self, other: HeadSums) -> HeadSums:
        return HeadSums(
            self.loss + other.loss,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )


@dataclass(frozen=True)
class NewtonRequest(Request[HeadSums]):
    """What are loss, gradient and Hessian at ``solution`` (A, d+1), for the ``labels`` (A,)?"""

    model: NamedTensors
    scale: Scale
    solution: Tensor
    labels: tuple[int, ...]

    def answer(self, client: Client) -> HeadSums:
        design = self.scale.design(torch.from_numpy(client.features(self.model, "train")))
        target, known = labels_of(client, "train")
        columns = list(self.labels)
        target, known = target[:, columns], known[:, columns]
        score = design @ self.solution.T
        probability = score.sigmoid()
        curvature = (known * probability * (1 - probability)).sqrt()
        hessian = torch.stack([_gram(design * root[:, None]) for root in curvature.T])
        return HeadSums(
            (known * (softplus(score) - target * score)).sum(0),
            (known * (probability - target)).T @ design,
            hessian,
        )


@dataclass(frozen=True)
class HeldOutRequest(Request[Tensor]):
    """What is the loss (S, L) of several solutions (S, L, d+1) on the validation parts?"""

    model: NamedTensors
    scale: Scale
    solutions: Tensor

    def answer(self, client: Client) -> Tensor:
        design = self.scale.design(torch.from_numpy(client.features(self.model, "validation")))
        target, known = labels_of(client, "validation")
        losses = []
        for solution in self.solutions:
            score = design @ solution.T
            losses.append((known * (softplus(score) - target * score)).sum(0))
        return torch.stack(losses)


@dataclass(frozen=True)
class Newton(Head):
    """``penalties``: the λ to choose from, by the summed validation loss (one: no choice is made).

    ``tolerance`` ends the iterations when no coefficient moves by more; ``max_rounds`` bounds them
    for each λ. A label without a positive or without a negative in training keeps its old row.
    """

    penalties: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    tolerance: float = 1e-7
    max_rounds: int = 50

    def __post_init__(self) -> None:
        at_least(1, penalties=len(self.penalties), max_rounds=self.max_rounds)
        for penalty in self.penalties:
            positive(penalty=penalty)
        positive(tolerance=self.tolerance)

    def solve(self, ask: Ask, model: NamedTensors) -> Solved:
        moments = ask(MomentsRequest(model))
        scale = Scale.of(moments)
        solvable = (moments.positives > 0) & (moments.negatives > 0)
        labels = tuple(int(label) for label in solvable.nonzero().flatten())
        if not labels:
            return Solved(model, {"kept_rows": float(len(solvable)), "held_out_loss": []})
        paths, rounds, open_labels = self._path(ask, model, scale, moments, labels)
        best, held_out = _choose(ask, model, scale, paths)
        weight, bias = scale.fold(paths[best])
        rows = solvable[:, None]
        old_weight, old_bias = model["head.weight"], model["head.bias"]
        tensors = {
            **model,
            "head.weight": torch.where(rows, weight.float(), old_weight),
            "head.bias": torch.where(solvable, bias.float(), old_bias),
        }
        report: dict[str, float | list[float] | list[str]] = {
            "penalty": sorted(self.penalties, reverse=True)[best],
            "held_out_loss": held_out,
            "exchanges": float(rounds),
            "kept_rows": float((~solvable).sum()),
            "not_converged": float(open_labels),
        }
        return Solved(NamedTensors(tensors), report)

    def _path(
        self,
        ask: Ask,
        model: NamedTensors,
        scale: Scale,
        moments: Moments,
        labels: tuple[int, ...],
    ) -> tuple[Tensor, int, int]:
        """Solutions (S, L, d+1), from the largest λ to the smallest, each starting at the last.

        With the exchanges used, and how many solutions were still moving when they ran out.
        """
        start = torch.zeros(len(moments.positives), len(scale.mean) + 1, dtype=torch.float64)
        odds = moments.positives.clamp_min(0.5) / moments.negatives.clamp_min(0.5)
        start[:, -1] = odds.log()
        found, rounds, open_labels = [], 0, 0
        for penalty in sorted(self.penalties, reverse=True):
            descent = _Descent(ask, model, scale, penalty)
            start, used, moving = descent.run(start, labels, self.tolerance, self.max_rounds)
            found.append(start)
            rounds += used
            open_labels += moving
        return torch.stack(found), rounds, open_labels


@dataclass(frozen=True)
class _Descent:
    """Damped Newton steps at one λ, every label on its own, all in the same exchanges."""

    ask: Ask
    model: NamedTensors
    scale: Scale
    penalty: float

    def run(
        self, start: Tensor, labels: tuple[int, ...], tolerance: float, max_rounds: int
    ) -> tuple[Tensor, int, int]:
        solution = start.clone()
        active = torch.tensor(labels, dtype=torch.long)
        accepted = self._at(solution[active], active)
        step = self._step(solution[active], accepted)
        used = 1
        while len(active) and used < max_rounds:
            proposal = solution[active] - step
            reached = self._at(proposal, active)
            used += 1
            better = reached.loss <= accepted.loss + 1e-9 * accepted.loss.abs()
            solution[active] = torch.where(better[:, None], proposal, solution[active])
            accepted = _where(better, reached, accepted)
            moved = step.abs().amax(1) > tolerance
            fresh = self._step(solution[active], accepted)
            step = torch.where(better[:, None], fresh, step / 2)
            active, step = active[moved], step[moved]
            accepted = _where(moved, accepted, None)
        return solution, used, len(active)

    def _at(self, solution: Tensor, active: Tensor) -> HeadSums:
        """The penalised sums at a solution."""
        labels = tuple(int(label) for label in active)
        sums = self.ask(NewtonRequest(self.model, self.scale, solution, labels))
        ridge = torch.full((solution.shape[1],), self.penalty, dtype=torch.float64)
        ridge[-1] = 0.0
        return replace(
            sums,
            loss=sums.loss + (ridge * solution.square()).sum(1) / 2,
            gradient=sums.gradient + ridge * solution,
            hessian=sums.hessian + torch.diag(ridge),
        )

    def _step(self, solution: Tensor, sums: HeadSums) -> Tensor:
        """Newton's step; a hair on the diagonal keeps the intercept of a separable label finite."""
        hair = 1e-10 * torch.eye(solution.shape[1], dtype=torch.float64)
        step: Tensor = torch.linalg.solve(sums.hessian + hair, sums.gradient)
        return step


def _where(mask: Tensor, yes: HeadSums, no: HeadSums | None) -> HeadSums:
    """Sums of the masked labels; of the others those of ``no``, or none at all."""
    if no is None:
        return HeadSums(yes.loss[mask], yes.gradient[mask], yes.hessian[mask])
    return HeadSums(
        torch.where(mask, yes.loss, no.loss),
        torch.where(mask[:, None], yes.gradient, no.gradient),
        torch.where(mask[:, None, None], yes.hessian, no.hessian),
    )


def _choose(ask: Ask, model: NamedTensors, scale: Scale, paths: Tensor) -> tuple[int, list[float]]:
    """Index of the solution with the least validation loss summed over labels, and those losses.

    The middle one, and no losses, where no validation exam has a known label.
    """
    if len(paths) == 1:
        return 0, []
    held_out = ask(HeldOutRequest(model, scale, paths)).sum(1)
    if not bool(held_out.any()):
        return len(paths) // 2, []
    return int(held_out.argmin()), held_out.tolist()


def _gram(matrix: Tensor) -> Tensor:
    return matrix.T @ matrix
