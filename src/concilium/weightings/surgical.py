"""Average the row of a label over the hospitals that annotate it, the body over all, unweighted.

Kulkarni, Kanhere, Yi, Parekh: "From Isolation to Collaboration: Federated Class-Heterogeneous
Learning for Chest X-Ray Classification", ML4H 2024, PMLR 259 (arXiv 2301.06683; its earlier title
was "Surgical Aggregation: Federated Class-Heterogeneous Learning"); read as its abstract and the
authors' code (github.com/BioIntelligence-Lab/SurgicalAggregation) have it, not checked against the
equations of the text: body a_k = 1, row l of the head a_kl = m_kl, which is 1 where client k
annotates label l and else 0.

Where ours differs. A client annotates a label when it knows at least one entry of it. The code
keeps a head of a client's own labels only, and warms it up before the first round; here all rows
travel, and those of unknown labels weigh 0. Its batch normalisation is frozen and never averaged
("FedBN+"); of our networks only efficientnet_lite0 has any, with fixed running statistics, and
``sharing`` says what stays at home. A client without any known entry weighs 0 throughout. The mean
delta of a row that nobody in the cohort annotates is 0 (a server optimiser with memory may move the
row all the same).

Sends: one number a tensor and L a tensor of the head, each 1 or 0. Without secure sum it tells the
server which labels the hospital annotates.
Costs: 4 bytes a tensor and client up, 4 L for each tensor of the head; no more forward passes.
Secure sum: yes, the server needs the sums only; a row that one hospital alone annotates is that
hospital's row even in the sum.
Differential privacy: yes, where a hospital annotates a label as its policy, on all of its images or
on none: the mask then says nothing of one image.
"""

from __future__ import annotations

from dataclasses import dataclass

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings._rows import weight_of_rows
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class Surgical(Weighting):
    """Body 1; row l of the head 1 where the client knows an entry of l, else 0."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        annotated = own.known > 0
        return weight_of_rows(delta, float(annotated.any()), annotated)
