"""Weight by the number of known label entries, a_k = Σ_l known_kl.

A loss is a mean over known entries; weighting by the same count makes one full-batch step of all
clients together equal one full-batch step on their pooled data, masks included. Weighting by images
ends off the pooled solution as soon as hospitals annotate different labels. With complete labels it
is ``by_images``.

Sends: one number a tensor, Σ_l known_kl. Without secure sum it tells the server how many entries
the hospital annotated.
Costs: 4 bytes a tensor and client up; no more forward passes.
Secure sum: yes, the server needs the sums only.
Differential privacy: no, an image with other blanks changes the count, which is sent exactly; yes
where each hospital annotates the same labels on all of its images.
"""

from __future__ import annotations

from dataclasses import dataclass

from concilium.federation.messages import scalar_weight
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class ByKnownEntries(Weighting):
    """a_k = Σ_l known_kl for every tensor."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        return scalar_weight(delta, int(own.known.sum()))
