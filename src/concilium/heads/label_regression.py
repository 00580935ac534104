"""Label regression: what each finding adds to the features while the others are held fixed.

A Gaussian model of the encoder's output h whose mean is a sum over the labels present (μ₀ is the
mean without a finding),

    h | y ~ N(μ(y), Σ),   μ(y) = μ₀ + Σ_l y_l μ_l,   B = (ZᵀZ + λI)⁻¹ZᵀH with the μ_l as its rows

Z are the labels and H the features, each less its mean at the exam's own hospital. By the theorem
of Frisch and Waugh ("Partial Time Regressions as Compared with Individual Trends", Econometrica
1933) that is the regression which has a column for each hospital as well, so what a scanner adds is
not learnt as a finding. Class means, as in a prototype, take for a finding's own what the findings
beside it add; a regression on all labels takes them apart. As Σ is shared,

    log N(h; μ(y), Σ) = const(h) + Σ_l y_l (w_l·h + c_l) + Σ_{l<m} K_lm y_l y_m,
    w_l = Σ⁻¹μ_l,   c_l = −μ₀ᵀΣ⁻¹μ_l − ½ μ_lᵀΣ⁻¹μ_l,   K_lm = −μ_lᵀΣ⁻¹μ_m:

a linear head, and a coupling for the label prior: where two findings look alike, h shows one of
them rather than both. With one label it is the linear discriminant of Fisher, "The Use of Multiple
Measurements in Taxonomic Problems", Annals of Eugenics 1936, between exams with and without it. No
paper with several labels from sums is known to us.

Its scores are evidence: log N(h; label l alone) − log N(h; none). Without a label prior they do not
know how common a finding is. Σ is the residual covariance, shrunk to a multiple of the identity (as
in Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal
of Multivariate Analysis 2004, at a set intensity). An exam with an unknown or missing label cannot
take part.

Sends: summed moments, then of the exams with all labels known their number, Σ y, Σ h, and ZᵀZ, ZᵀH,
  HᵀH (upper triangle).
Costs: two exchanges, the larger of d²/2 + L·d numbers, whatever L is; no further pass.
Secure sum: yes, the server needs totals only.
Differential privacy: no, its sums are not clipped; noise on a matrix of d² numbers costs much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.foundation.checks import fraction, positive
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._standardisation import MomentsRequest, Scale, labels_of
from concilium.heads._triangles import full, gram_triangles
from concilium.heads.contract import Ask, Head, Solution

HAIR = 1e-9
"""Least variance beside features of variance 1: a constant feature would have none."""


@dataclass(frozen=True)
class RegressionSums:
    """Of complete exams: ``sites`` that have any, their number, Σ y (L,), Σ h (d,), the others.

    ``gram`` is the upper triangle of the scatter (L + d, L + d) of labels and features together,
    about their means at the hospital, or about 0.
    """

    sites: float
    complete: float
    left_out: float
    labels: Tensor
    features: Tensor
    gram: Tensor

    def __add__(self, other: RegressionSums) -> RegressionSums:
        return RegressionSums(
            self.sites + other.sites,
            self.complete + other.complete,
            self.left_out + other.left_out,
            self.labels + other.labels,
            self.features + other.features,
            self.gram + other.gram,
        )


@dataclass(frozen=True)
class RegressionRequest(Request[RegressionSums]):
    """What are the sums of a regression of features on labels, over the exams with all known?"""

    model: NamedTensors
    scale: Scale
    site_means: bool

    def answer(self, client: Client) -> RegressionSums:
        target, known = labels_of(client, "train")
        complete = known.all(1)
        features = torch.from_numpy(client.features(self.model, "train"))
        labels, rows = target[complete], self.scale.design(features)[complete, :-1]
        both = torch.cat([labels, rows], 1)
        even = torch.ones(len(both), 1, dtype=torch.float64)
        return RegressionSums(
            float(len(both) > 0),
            float(len(both)),
            float(len(target) - len(both)),
            labels.sum(0),
            rows.sum(0),
            gram_triangles(both, even, centred=self.site_means)[0],
        )


@dataclass(frozen=True)
class LabelRegression(Head):
    """``penalty`` λ > 0, in exams: a label that λ exams carry moves half as far as they say.

    ``shrinkage`` in (0, 1] is how much of Σ is a multiple of the identity. ``site_means`` gives
    each hospital a mean of its own; without it one mean is taken for all. A label that does not
    vary (within any hospital, with ``site_means``) keeps its old row and couples nothing.

    Raises InputError where no exam has all labels known.
    """

    gives_evidence: ClassVar[bool] = True

    penalty: float = 1.0
    shrinkage: float = 0.1
    site_means: bool = True

    def __post_init__(self) -> None:
        positive(penalty=self.penalty, shrinkage=self.shrinkage)
        fraction(shrinkage=self.shrinkage)

    def solution(self, ask: Ask, model: NamedTensors) -> Solution:
        scale = Scale.of(ask(MomentsRequest(model)))
        sums = ask(RegressionRequest(model, scale, self.site_means))
        if not sums.complete:
            what = "label_regression needs exams with all labels known, and no hospital has one"
            raise InputError(Problem("head", what, "take newton, which needs none"))
        effect, covariance, solved = self._regression(sums)
        pull = torch.linalg.solve(covariance, effect.T).T
        overlap = pull @ effect.T
        base = (sums.features - sums.labels @ effect) / sums.complete
        offset = -pull @ base - overlap.diagonal() / 2
        weight, bias = scale.fold(torch.cat([pull, offset[:, None]], 1))
        coupling = -(overlap + overlap.T) / 2
        coupling.fill_diagonal_(0.0)
        report = {"complete_exams": sums.complete, "left_out_exams": sums.left_out}
        return Solution(weight, bias, solved, report, coupling)

    def _regression(self, sums: RegressionSums) -> tuple[Tensor, Tensor, Tensor]:
        """B (L, d), Σ (d, d), and which labels (L,) vary."""
        num_labels = len(sums.labels)
        scatter = full(sums.gram[None], num_labels + len(sums.features))[0]
        if not self.site_means:
            whole = torch.cat([sums.labels, sums.features])
            scatter = scatter - torch.outer(whole, whole) / sums.complete
        groups = sums.sites if self.site_means else 1.0
        zz, zh = scatter[:num_labels, :num_labels], scatter[:num_labels, num_labels:]
        solved = zz.diagonal() > 1e-9 * sums.complete
        zh = zh * solved[:, None]
        effect = torch.linalg.solve(zz + self.penalty * torch.eye(num_labels).to(zz), zh)
        effect = effect * solved[:, None]
        explained = effect.T @ zh
        residual = scatter[num_labels:, num_labels:] - explained - explained.T
        residual = residual + effect.T @ zz @ effect
        freedom = max(sums.complete - groups - float(solved.sum()), 1.0)
        return effect, self._shrunk(residual / freedom), solved

    def _shrunk(self, covariance: Tensor) -> Tensor:
        """(1 − s)·Σ + s·(tr Σ/d)·I, and a hair."""
        even = self.shrinkage * float(covariance.diagonal().mean()) + HAIR
        return (1 - self.shrinkage) * covariance + even * torch.eye(len(covariance)).to(covariance)
