"""Positive-weighted BCE: −w_l y log p − (1−y) log(1−p), w_l = min((N⁻_l / N⁺_l)^τ, cap).

N⁺_l and N⁻_l are the FEDERATION's positives and negatives of label l, so that a label weighs the
same at each hospital; with a hospital's own counts, the one that sees a label most rarely would
push it hardest. Class weights by inverse frequency are folklore, tempered by an exponent as in
Mikolov, Sutskever, Chen, Corrado, Dean: "Distributed Representations of Words and Phrases and their
Compositionality", NIPS 2013 (there for the sampling of words, 3/4); τ = ½ is our own choice,
measured on synthetic federations.

Sends: nothing of its own; N⁺ and N⁻ come with the federation's summed label statistics.
Costs: no bytes and no forward pass.
Secure sum: yes, the federation's counts are a total.
Differential privacy: yes, where every label is known: a mean of per-image losses. With unknown
labels a batch is divided by its own number of known entries, in whose place DP-SGD must put a fixed
number. The counts are released without noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from torch.nn.functional import logsigmoid

from concilium.foundation.checks import at_least, not_negative, positive
from concilium.labels.statistics import LabelStatistics
from concilium.losses._per_label import PerLabel, floats, per_label
from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class PositiveWeighted(Loss):
    """BCE in which the positives of a rare label say more, the same at every hospital.

    ``tau`` ≥ 0 goes from BCE (0) to weights by inverse frequency (1), at which positives and
    negatives of each label have equal say; ``cap`` ≥ 1 bounds a weight. ``weights`` (L,) > 0 may be
    set; empty, they come from the federation's counts when bound, and are 1 before. A label without
    a positive or without a negative in the federation keeps weight 1. It is divided by the number
    of known entries, not by their weights.
    """

    tau: float = 0.5
    cap: float = 20.0
    weights: PerLabel = ()

    def __post_init__(self) -> None:
        not_negative(tau=self.tau)
        at_least(1, cap=self.cap)
        positive(**{f"weights[{i}]": weight for i, weight in enumerate(self.weights)})

    def bind(self, statistics: LabelStatistics) -> PositiveWeighted:
        """With weights from the federation's counts, unless they were set."""
        if self.weights:
            return self
        both = (statistics.positives > 0) & (statistics.negatives > 0)
        ratio = np.where(both, statistics.negatives, 1) / np.where(both, statistics.positives, 1)
        return replace(self, weights=floats(np.minimum(ratio**self.tau, self.cap)))

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        weight = per_label("weights", self.weights, logits) if self.weights else 1.0
        values = -weight * target * logsigmoid(logits) - (1 - target) * logsigmoid(-logits)
        return mean_over_known(values, known, label_weight)

    @classmethod
    def like_bce(cls) -> PositiveWeighted:
        return cls(tau=0.0)
