"""Distribution-balanced loss: r̂ [y log(1+e^−(z−ν)) + (1−y)/λ log(1+e^λ(z−ν))], per label.

Wu, Huang, Liu, Wang, Lin: "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020, arXiv 2007.09654. Re-balanced weighting: r̂ = α + σ(β(r − μ)) with r =
P^C/P^I, how often label l alone would draw this image over how often all its labels draw it,

    r_l = (1/n_l) / Σ_m y_m/n_m.

Negative-tolerant regularisation: ν_l = (κ/λ) log(1/p_l − 1) shifts scores and λ flattens what
negatives say, p_l the prevalence. Checked against the authors' published code (resample_loss.py),
not against the printed equations, which could not be seen.

Ours differs: n and p are the FEDERATION's, and 1/p_l stands for 1/n_l, the same where all labels
are known everywhere; p is smoothed by half a case on each side. An image without a present label
has r = ∞ and the weight α + 1, as in that code. Its focal term and its resampling of images are
left out; it is a mean over known entries.

Sends: nothing of its own; p comes with the federation's summed label statistics.
Costs: no bytes and no forward pass.
Secure sum: yes, the federation's counts are a total.
Differential privacy: yes, where every label is known: a mean of per-image losses. With unknown
labels a batch is divided by its own number of known entries, in whose place DP-SGD must put a fixed
number. The counts are released without noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.foundation.checks import not_negative, positive
from concilium.labels.statistics import LabelStatistics
from concilium.losses._per_label import (
    PerLabel,
    floats,
    per_label,
    smoothed_prevalence,
    strictly_between_0_and_1,
)
from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class DistributionBalanced(Loss):
    """Rare labels weigh more, less so in company, and push negatives down less.

    ``alpha`` ≥ 0, ``beta`` ≥ 0 and ``mu`` map r to weights between alpha and alpha + 1; ``lambda_``
    > 0 and ``kappa`` ≥ 0 are λ and κ. The defaults are those of the authors' code for COCO.
    ``prevalence`` (L,) in (0, 1) may be set; empty, it becomes the federation's when bound, and the
    loss is BCE before. So it is with alpha ½, beta 0 (every weight 1), lambda_ 1 and kappa 0.

    A score z is used as it is, where training fitted z − ν: the alert threshold of a rare label is
    lowered by ν on purpose, and probabilities need calibration.
    """

    compares_labels: ClassVar[bool] = True

    alpha: float = 0.1
    beta: float = 10.0
    mu: float = 0.2
    lambda_: float = 2.0
    kappa: float = 0.05
    prevalence: PerLabel = ()

    def __post_init__(self) -> None:
        not_negative(alpha=self.alpha, beta=self.beta, kappa=self.kappa)
        positive(lambda_=self.lambda_)
        strictly_between_0_and_1("prevalence", self.prevalence)

    def bind(self, statistics: LabelStatistics) -> DistributionBalanced:
        """With the federation's prevalence, unless one was set."""
        if self.prevalence:
            return self
        return replace(self, prevalence=floats(smoothed_prevalence(statistics)))

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        if not self.prevalence:
            values = target * softplus(-logits) + (1 - target) * softplus(logits)
            return mean_over_known(values, known, label_weight)
        prevalence = per_label("prevalence", self.prevalence, logits)
        shifted = logits - self.kappa / self.lambda_ * (1 / prevalence - 1).log()
        negative = softplus(self.lambda_ * shifted) / self.lambda_
        values = target * softplus(-shifted) + (1 - target) * negative
        return mean_over_known(self._weight(target, prevalence) * values, known, label_weight)

    def _weight(self, target: Tensor, prevalence: Tensor) -> Tensor:
        """r̂ (B, L), from the labels that are known to be present in each image."""
        drawn = (target / prevalence).sum(1, keepdim=True)
        ratio = 1 / prevalence / drawn.clamp_min(_NEVER_DRAWN)
        return self.alpha + torch.sigmoid(self.beta * (ratio - self.mu))

    @classmethod
    def like_bce(cls) -> DistributionBalanced:
        return cls(alpha=0.5, beta=0.0, lambda_=1.0, kappa=0.0)


# Stands for P^I = 0: r is then so large that its weight is the largest, yet finite for beta = 0.
_NEVER_DRAWN = 1e-30
