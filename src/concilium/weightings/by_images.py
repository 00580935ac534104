"""Weight by the number of training images, a_k = n_k.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas: "Communication-Efficient Learning of Deep Networks
from Decentralized Data", AISTATS 2017, Algorithm 1 (arXiv 1602.05629). A hospital without a known
entry takes no step and counts all the same, so it shortens the step of the others.

Sends: one number a tensor, n_k. Without secure sum it tells the server the hospital's number of
training images.
Costs: 4 bytes a tensor and client up; no more forward passes.
Secure sum: yes, the server needs the sums only.
Differential privacy: yes, where neighbours differ in what an image is, not in how many there are:
n_k is then the same for both. Else n_k must be public, or needs noise of its own.
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
