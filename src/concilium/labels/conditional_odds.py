"""Log-odds of each label given the others: θ_l + Σ_m J_lm y_m, by ridge-logistic regression.

One logistic regression a label on all other labels, as in Besag: "Statistical Analysis of
Non-Lattice Data", The Statistician 1975 (pseudo-likelihood), but each label for itself: J need not
be symmetric. Its mean with its transpose is the usual estimate of an Ising model's coupling
(Höfling, Tibshirani: "Estimation of Sparse Binary Pairwise Markov Networks using
Pseudo-likelihoods", JMLR 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.foundation.checks import positive

# Newton needs 5 to 15; more only where steps had to be halved.
_MOST_STEPS = 100
_TOLERANCE = 1e-10


def conditional_log_odds(
    target: Tensor, known: Tensor, ridge: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Bias θ (L,) and coupling J (L, L), float64, with θ_l + Σ_m J_lm y_m ≈ log-odds of label l.

    ``target`` (N, L) in [0, 1] (soft targets are fitted as they are) and ``known`` (N, L) bool;
    ``ridge`` > 0. For each label l, over the exams on which l is known, it minimises

        Σ_i [softplus(s_i) − y_il s_i] + softplus(θ_l) − ½ θ_l + ridge/2 Σ_m J_lm²,
        s_i = θ_l + Σ_{m≠l} J_lm y_im,

    the middle term being half an exam with l and half an exam without it, neither with any other
    label: with it all is finite, for separable labels and those that never or always occur, too.
    An unknown y_im (m ≠ l) counts as the prevalence of m among its known, see ``filled``.

    The diagonal of J is 0. A label that is never known has θ 0 and a row and a column of 0. The
    order of exams does not matter, to the last bit. Limits: pairwise; J is shrunk, by a ridge of 1
    hardly where a pair occurs some ten times, to a fraction where it occurs once; and a label that
    is often unknown couples too weakly, since its prevalence stands in for it.
    """
    positive(ridge=ridge)
    patterns = _Patterns.of(target, known)
    num_labels = target.shape[1]
    solution = torch.zeros(num_labels, num_labels + 1, dtype=torch.float64)
    fraction = torch.ones(num_labels, 1, dtype=torch.float64)
    objective = patterns.objective(solution, ridge)
    for _ in range(_MOST_STEPS):
        step = patterns.newton_step(solution, ridge)
        if step.abs().max() < _TOLERANCE:
            break
        proposal = solution - fraction * step
        found = patterns.objective(proposal, ridge)
        # An objective as low to rounding is accepted, or the last steps would never be taken.
        better = (found <= objective + 1e-12 * objective.abs().clamp_min(1))[:, None]
        solution = torch.where(better, proposal, solution)
        objective = torch.where(better[:, 0], found, objective)
        fraction = torch.where(better, (2 * fraction).clamp_max(1), fraction / 2)
    return solution[:, -1].clone(), solution[:, :-1].clone()


def prevalence_of(target: Tensor, known: Tensor) -> Tensor:
    """Mean target (L,) of each label among its known exams, float64; 0 where it is never known."""
    known = known.cpu()
    present = target.double().cpu().masked_fill(~known, 0.0)
    return present.sum(0) / known.sum(0).clamp_min(1)


def filled(target: Tensor, known: Tensor, prevalence: Tensor) -> Tensor:
    """The target (N, L) with each label's prevalence (L,) where it is not known."""
    return torch.where(known, target, prevalence.to(target))


@dataclass(frozen=True)
class _Patterns:
    """The distinct rows of labels and how often each occurs: far fewer than exams.

    ``design`` (P, L+1) are the labels with unknown ones filled, and 1; ``target`` and ``weight``
    (P, L) what is fitted, with 0 where it is unknown.
    """

    design: Tensor
    target: Tensor
    weight: Tensor

    @staticmethod
    def of(target: Tensor, known: Tensor) -> _Patterns:
        known = known.cpu()
        plain = target.double().cpu().masked_fill(~known, 0.0)
        rows, count = torch.unique(torch.cat([plain, known], 1), dim=0, return_counts=True)
        plain, known = rows.tensor_split(2, 1)
        prevalence = (count[:, None] * plain).sum(0) / (count[:, None] * known).sum(0).clamp_min(1)
        labels = filled(plain, known.bool(), prevalence)
        design = torch.cat([labels, torch.ones(len(labels), 1, dtype=torch.float64)], 1)
        return _Patterns(design, plain, known * count[:, None])

    def objective(self, solution: Tensor, ridge: float) -> Tensor:
        """The objective (L,) at the solutions (L, L+1), rows J_l and θ_l with J_ll = 0."""
        score, bias = self.design @ solution.T, solution[:, -1]
        fit = (self.weight * (softplus(score) - self.target * score)).sum(0)
        return fit + softplus(bias) - bias / 2 + ridge / 2 * solution[:, :-1].square().sum(1)

    def newton_step(self, solution: Tensor, ridge: float) -> Tensor:
        """H⁻¹ g (L, L+1) of each label; 0 for its coupling with itself."""
        probability, bias = (self.design @ solution.T).sigmoid(), solution[:, -1].sigmoid()
        gradient = (self.weight * (probability - self.target)).T @ self.design
        gradient[:, :-1] += ridge * solution[:, :-1]
        gradient[:, -1] += bias - 0.5
        curvature = self.weight * probability * (1 - probability)
        hessian = torch.stack([self.design.T @ (self.design * c[:, None]) for c in curvature.T])
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        diagonal[:, :-1] += ridge
        diagonal[:, -1] += bias * (1 - bias)
        own = torch.arange(len(solution))
        gradient[own, own] = 0.0
        hessian[own, own, :] = 0.0
        hessian[own, :, own] = 0.0
        hessian[own, own, own] = 1.0
        step: Tensor = torch.linalg.solve(hessian, gradient)
        return step
