"""The label prior of maximum entropy: exactly the counted one- and two-label frequencies.

    minimise over θ, J:   log Σ_y exp(θ·y + Σ J_lm y_l y_m) − θ·p − Σ J_lm p_lm
                          + Σ_{l<m} ρ (J_lm − J⁰_lm)² / (2 n_lm)

Of all distributions over label sets with frequencies p_l and p_lm, the pairwise Ising model has the
greatest entropy (Jaynes, "Information Theory and Statistical Mechanics", Physical Review 1957), and
it alone of its family has them. Iterative proportional fitting finds it (Deming, Stephan 1940;
Darroch, Ratcliff, "Generalized Iterative Scaling for Log-Linear Models", Annals of Mathematical
Statistics 1972); what stands here, Newton's method on all 2^L label sets, finds the same point in
some ten steps. The frequencies come from summed counts alone (``PairCounts``), so what many
hospitals fit together equals what they would fit in one place.

Ours is the last term, a Gaussian with variance 1/ρ on each coupling: frequencies that no
distribution has (pairs counted on different exams) and pairs that never occur give finite
couplings. It moves the expected count of a pair by ρ (J − J⁰) exams and leaves the prevalences
exact. A pair that says nothing (never known together, or one of them never varies) has J = J⁰.
(The papers were not seen; that the moments are met is what the tests check.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.foundation.checks import at_least, positive
from concilium.foundation.errors import InputError
from concilium.joint.label_prior import MOST_ENUMERATED, LabelPrior, label_sets
from concilium.joint.pair_counts import PairCounts
from concilium.labels.statistics import LabelStatistics

RIDGE = 1.0  # ρ: log odds ratios of findings mostly lie within ±1 of 0, or of the federation's
SITE_EXAMS = 100.0
MAX_STEPS = 100
TOLERANCE = 1e-10  # of the moments


def fit_label_prior(statistics: LabelStatistics, ridge: float = RIDGE) -> LabelPrior:
    """The prior with the frequencies of these statistics, for at most 16 labels.

    ``ridge`` ρ > 0, in exams. A label without a positive counts half of one, one without a negative
    likewise; one never known has θ = 0. Raises InputError for more labels.
    """
    counts = PairCounts.of(statistics)
    return _fit(counts, LabelPrior.independent(counts.log_odds), ridge)


def fit_site_prior(
    own: LabelStatistics,
    federation: LabelStatistics,
    prior: LabelPrior,
    exams: float = SITE_EXAMS,
    ridge: float = RIDGE,
) -> LabelPrior:
    """A site's own prior, held to the federation's ``prior`` where the site has seen little.

    To the site's counts are added ``exams`` ≥ 0 exams with the federation's frequencies, and the
    ridge draws couplings to the federation's: a pair of rare labels is rarely in so few exams.
    A site without exams has the federation's prior, nearly. Raises InputError above 16 labels.
    """
    at_least(0, exams=exams)
    return _fit(PairCounts.of(own) + PairCounts.of(federation).worth(exams), prior, ridge)


def _fit(counts: PairCounts, around: LabelPrior, ridge: float) -> LabelPrior:
    """Newton's method from ``around``, whose couplings are the J⁰ of the ridge."""
    positive(ridge=ridge)
    num = len(around.bias)
    if num > MOST_ENUMERATED:
        raise InputError(f"{num} labels are more than the {MOST_ENUMERATED} that are enumerated")
    first, second = torch.triu_indices(num, num, 1)
    pairs_free = counts.informative[first, second]
    objective = _Objective.of(counts, around.coupling, ridge, first, second)
    start = torch.cat([around.bias, around.coupling[first, second]])
    free = torch.cat([torch.ones(num, dtype=torch.bool), pairs_free])
    found = objective.least(start, free)
    coupling = torch.zeros(num, num, dtype=torch.float64)
    coupling[first, second] = found[num:]
    return LabelPrior(found[:num], coupling + coupling.T)


@dataclass(frozen=True)
class _Objective:
    """The convex function above of the parameters (θ, J above the diagonal), A numbers in all.

    ``design`` (2^L, A) says which terms a label set has; ``moments`` (A,) how often each term is to
    occur; ``pull`` (A,) is ρ/n towards ``centre`` (A,), 0 for θ.
    """

    design: Tensor
    moments: Tensor
    centre: Tensor
    pull: Tensor

    @staticmethod
    def of(
        counts: PairCounts, coupling: Tensor, ridge: float, first: Tensor, second: Tensor
    ) -> _Objective:
        prevalence = counts.log_odds.sigmoid()
        sets = label_sets(len(prevalence))
        nothing = torch.zeros_like(prevalence)
        exams = counts.both_known[first, second]
        return _Objective(
            torch.cat([sets, sets[:, first] * sets[:, second]], 1),
            torch.cat([prevalence, counts.pair_probability[first, second]]),
            torch.cat([nothing, coupling[first, second]]),
            torch.cat([nothing, torch.where(exams > 0, ridge / exams, 0.0)]),
        )

    def least(self, start: Tensor, free: Tensor) -> Tensor:
        """The parameters (A,) at the minimum over the free ones; the others stay at the start."""
        point = start
        for _ in range(MAX_STEPS):
            probability = (self.design @ point).softmax(0)
            expected = probability @ self.design
            gradient = expected - self.moments + self.pull * (point - self.centre)
            if bool((gradient[free].abs() <= TOLERANCE).all()):
                break
            columns = self.design[:, free]
            second = (columns * probability[:, None]).T @ columns
            hessian = second - torch.outer(expected[free], expected[free])
            step = torch.zeros_like(point)
            step[free] = torch.linalg.solve(hessian + self.pull[free].diag(), gradient[free])
            point = self._damped(point, step)
        return point

    def _damped(self, point: Tensor, step: Tensor) -> Tensor:
        """The step, halved until the function does not grow by more than rounding (30 times)."""
        before = self._value(point)
        for _ in range(30):
            if self._value(point - step) <= before + 1e-13:
                break
            step = step / 2
        return point - step

    def _value(self, point: Tensor) -> Tensor:
        pulled = self.pull * (point - self.centre).square()
        normaliser = (self.design @ point).logsumexp(0)
        return normaliser - point @ self.moments + pulled.sum() / 2
