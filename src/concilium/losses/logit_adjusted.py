"""Logit-adjusted BCE: −y log σ(z+o) − (1−y) log(1−σ(z+o)), o_kl = τ (log-odds of p_kl − of p_l).

Menon, Jayasumana, Rawat, Jain, Veit, Kumar: "Long-tail learning via logit adjustment", ICLR 2021,
arXiv 2007.07314: the logit-adjusted softmax cross-entropy adds τ log π_y to each score in training
(equation 10), so that the scores left are those of balanced classes. Here per label, where the
softmax of two classes is a sigmoid and the adjustment its log-odds; a local prior for each client
is also what FedLC does (Zhang et al., "Federated Learning with Label Distribution Skew via Logits
Calibration", ICML 2022, arXiv 2209.00189), with another formula.

p_kl is the prevalence of label l at hospital k, p_l the federation's: how much more a hospital sees
of a finding is then said by o_kl, not learnt as appearance, and all hospitals train scores with the
federation's prevalence in them. Towards "balance" p_l is ½, the paper's own form. Ours differs: the
prior is the client's, and smoothed.

Sends: nothing of its own; p_l comes with the federation's summed label statistics, p_kl stays home.
Costs: no bytes and no forward pass.
Secure sum: yes, the federation's counts are a total.
Differential privacy: yes, given o, where every label is known: a mean of per-image losses. With
unknown labels a batch is divided by its own number of known entries, in whose place DP-SGD must put
a fixed number. The counts behind o are not noised, so the guarantee does not cover what they say of
an image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

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
class LogitAdjusted(Loss):
    """BCE in which each hospital's own prevalence is added to the scores, in training only.

    ``tau`` ≥ 0 scales the adjustment (0 is BCE). ``towards`` says which prevalence the scores keep:
    the federation's, or balance (½), at which score 0 minimises the mean of miss and false alarm.
    ``smoothing`` > 0 is the number of exams of the federation's prevalence (or ½) that are added to
    a hospital's own, so that one without a positive, or without a known entry, stays finite. A soft
    target counts as present above one half, there as in the federation's counts.

    ``prevalence`` (L,) in (0, 1) is p_l, bound from the federation's counts (before: ½);
    ``offset`` (L,) is o_k, set when localised (before: 0, which is BCE).
    """

    tau: float = 1.0
    towards: Literal["federation", "balance"] = "federation"
    smoothing: float = 1.0
    prevalence: PerLabel = ()
    offset: PerLabel = ()

    def __post_init__(self) -> None:
        not_negative(tau=self.tau)
        positive(smoothing=self.smoothing)
        strictly_between_0_and_1("prevalence", self.prevalence)

    @property
    def gives_log_odds(self) -> bool:
        """Towards balance the prevalence is not in the scores: a prior would take it off twice."""
        return self.towards == "federation"

    def bind(self, statistics: LabelStatistics) -> LogitAdjusted:
        """With the federation's prevalence, unless one was set."""
        if self.prevalence or self.towards == "balance":
            return self
        return replace(self, prevalence=floats(smoothed_prevalence(statistics)))

    def localise(self, target: Tensor, known: Tensor) -> LogitAdjusted:
        """With the offset of a client whose training labels are these, both (N, L)."""
        common = torch.full(target.shape[1:], 0.5, dtype=torch.float64)
        if self.prevalence and self.towards == "federation":
            common = per_label("prevalence", self.prevalence, common[None])
        mask = known.double().cpu()
        # As the federation's counts have it, or the two would differ for soft targets.
        positives = ((target.cpu() > 0.5) & known.cpu()).double().sum(0)
        added = positives + self.smoothing * common
        local = added / (mask.sum(0) + self.smoothing)
        offset = self.tau * (local.logit() - common.logit())
        return replace(self, offset=tuple(offset.tolist()))

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        if self.offset:
            logits = logits + per_label("offset", self.offset, logits)
        values = binary_cross_entropy_with_logits(logits, target, reduction="none")
        return mean_over_known(values, known, label_weight)

    @classmethod
    def like_bce(cls) -> LogitAdjusted:
        return cls(tau=0.0)
