"""Weight by the number of training images, a_k = n_k.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks
from Decentralized Data", AISTATS 2017, Algorithm 1 (arXiv 1602.05629).
"""

from __future__ import annotations

from dataclasses import dataclass

from concilium.federation.messages import scalar_weight
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class ByImages(Weighting):
    """a_k = n_k for every tensor."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        return scalar_weight(delta, own.num_images)
