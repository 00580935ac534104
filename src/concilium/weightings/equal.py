"""Weight all clients alike, a_k = 1 (0 where no label entry is known).

The average of Li, Huang, Yang, Wang, Zhang: "On the Convergence of FedAvg on Non-IID Data", ICLR
2020 (arXiv 1907.02189), Assumption 5, where cohorts are drawn by size (``sampling = "weighted"``):
its mean is then, on average, that of weighting by images among all clients. With full participation
a hospital of ten images has the say of one of ten thousand. A client without a known entry took no
step: it has no say, so that it does not shorten the step of the others.

Sends: one number a tensor, 1 or 0: whether the hospital knows any entry.
Costs: 4 bytes a tensor and client up; no more forward passes.
Secure sum: yes, the server needs the sums only.
Differential privacy: yes, no count leaves a hospital.
"""

from __future__ import annotations

from dataclasses import dataclass

from concilium.federation.messages import scalar_weight
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class Equal(Weighting):
    """a_k = 1 for every tensor of every client that knows an entry."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        return scalar_weight(delta, float(own.known.any()))
