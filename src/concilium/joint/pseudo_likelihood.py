"""The label prior of many labels, by pseudo-likelihood: each label regressed on all others.

    minimise Σ_i Σ_l known_il [softplus(s_il) − y_il s_il]
    s_il = c_l + Σ_{m≠l} W_lm (y_im − μ_m)

Besag, "Statistical Analysis of Non-Lattice Data", The Statistician 1975: the product of P(y_l | all
other labels), which for the Ising model are logistic regressions, needs no sum over 2^L label sets.
A client sends loss, gradient and Hessian at the shared point, L + L² + L³ numbers in all, and the
server steps by Newton's method on their totals, so what many hospitals fit equals what they would
fit in one place. Then J = (W + Wᵀ)/2 and θ = c − J μ. (The paper was not seen;
the product is as S. Z. Li, "Markov Random Field Modeling", section 6.1.2, cites it.)

Ours: W is centred at the prevalences μ, and a label that is unknown on an exam stands there at its
prevalence: it says nothing of the others, and where it is never known, W stays where it was. With
every label known this is Besag's. A label counts as an outcome only where it is known. Couplings
are pulled to a centre by a Gaussian, as in ``maximum_entropy``; c by a few exams at its centre, so
that a label without a positive stays finite. W and Wᵀ are fitted apart and averaged
("disjoint" pseudo-likelihood), which is less exact in small samples than fitting them as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.foundation.checks import positive
from concilium.joint.label_prior import LabelPrior

MAX_STEPS = 50
TOLERANCE = 1e-8  # of the parameters


@dataclass(frozen=True)
class PseudoSums:
    """Loss (L,), gradient (L, L) and Hessian (L, L, L) of every label's regression, summed.

    Row l of a point (L, L) are the parameters of label l: W_lm, and c_l in place l.
    """

    loss: Tensor
    gradient: Tensor
    hessian: Tensor

    def __add__(self, other: PseudoSums) -> PseudoSums:
        """The sums over the exams of both."""
        return PseudoSums(
            self.loss + other.loss, self.gradient + other.gradient, self.hessian + other.hessian
        )

    @staticmethod
    def of(target: Tensor, known: Tensor, prevalence: Tensor, point: Tensor) -> PseudoSums:
        """The sums at ``point`` (L, L) over exams with target and known (N, L), μ (L,); float64."""
        target, mask = target.double().masked_fill(~known, 0.0), known.double()
        others = (target - prevalence) * mask
        bias = point.diagonal()
        score = others @ (point - bias.diag()).T + bias
        probability = score.sigmoid()
        residual = (probability - target) * mask
        curvature = probability * (1 - probability) * mask
        gradient, hessian = [], []
        for label in range(len(prevalence)):
            design = others.clone()
            design[:, label] = 1.0
            gradient.append(residual[:, label] @ design)
            hessian.append((design * curvature[:, label, None]).T @ design)
        loss = ((softplus(score) - target * score) * mask).sum(0)
        return PseudoSums(loss, torch.stack(gradient), torch.stack(hessian))


def fit_pseudo_likelihood(
    ask: Callable[[Tensor], PseudoSums],
    prevalence: Tensor,
    around: LabelPrior,
    ridge: float,
    exams: float = 1.0,
) -> LabelPrior:
    """The prior from sums at any point: ``ask(point)`` gives those of all clients together.

    ``prevalence`` μ (L,) in (0, 1) centres the labels, the same at every client. ``around`` is what
    is pulled to: its couplings with weight ``ridge`` > 0, its biases with the curvature of
    ``exams`` > 0 exams. It may have any number of labels.
    """
    positive(ridge=ridge, exams=exams)
    centre = around.coupling + (around.bias + around.coupling @ prevalence).diag()
    level = exams * prevalence * (1 - prevalence)
    pull = torch.full_like(centre, ridge).fill_diagonal_(0.0) + level.diag()
    found = _least(lambda point: _pulled(ask(point), point - centre, pull), centre)
    bias = found.diagonal()
    rows = found - bias.diag()
    coupling = (rows + rows.T) / 2
    return LabelPrior(bias - coupling @ prevalence, coupling)


def _pulled(sums: PseudoSums, away: Tensor, pull: Tensor) -> PseudoSums:
    """The sums with the penalty Σ pull · away² / 2 of each label."""
    return replace(
        sums,
        loss=sums.loss + (pull * away.square()).sum(1) / 2,
        gradient=sums.gradient + pull * away,
        hessian=sums.hessian + torch.diag_embed(pull),
    )


def _least(at: Callable[[Tensor], PseudoSums], point: Tensor) -> Tensor:
    """Newton's method, every label on its own: a step that overshoots is halved."""
    accepted = at(point)
    step = _step(accepted)
    for _ in range(MAX_STEPS):
        if float(step.abs().max()) <= TOLERANCE:
            break
        reached = at(point - step)
        better = reached.loss <= accepted.loss + 1e-12 * accepted.loss.abs()
        point = torch.where(better[:, None], point - step, point)
        accepted = PseudoSums(
            torch.where(better, reached.loss, accepted.loss),
            torch.where(better[:, None], reached.gradient, accepted.gradient),
            torch.where(better[:, None, None], reached.hessian, accepted.hessian),
        )
        step = torch.where(better[:, None], _step(accepted), step / 2)
    return point


def _step(sums: PseudoSums) -> Tensor:
    step: Tensor = torch.linalg.solve(sums.hessian, sums.gradient)
    return step
