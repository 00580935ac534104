"""Average the row of a label by the hospitals' positives of it, a_kl = n⁺_kl.

A baseline, known to raise false coupling: a hospital of positives alone decides a row although it
never saw the label absent, and whatever else its images have in common becomes a sign of the label
(``by_label_evidence`` is the remedy). All other tensors weigh by known entries. The mean delta of a
row that nobody in the cohort has a positive of is 0 (a server optimiser with memory may move the
row all the same).

It stands for rules that adapt the weights of a classifier label by label: Chang, Hsu, Chang, Tseng:
"FLAG: Fast Label-Adaptive Aggregation for Multi-label Classification in Federated Learning", 2023
(arXiv 2302.13571); the task-dependent aggregation of FedPSL, "Federated Partially Supervised
Learning With Limited Decentralized Medical Images", IEEE TMI 42(7), 2023; and, with
pseudo-positives, FedLSM (algorithm ``fedlsm``). Of the first two only abstracts could be seen, so
the equation is named after neither.

Sends: one number a tensor and L a tensor of the head: the hospital's positives of each label.
Without secure sum the server reads these counts, small ones included.
Costs: 4 bytes a tensor and client up, 4 L for each tensor of the head; no more forward passes.
Secure sum: yes, the server needs the sums only; a row that one hospital alone has positives for is
that hospital's row even in the sum.
Differential privacy: no, the weight of a row is an exact count of positives.
"""

from __future__ import annotations

from dataclasses import dataclass

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings._rows import known_share, weight_of_rows
from concilium.weightings.contract import Weighting


@dataclass(frozen=True)
class ByPositives(Weighting):
    """Row l of the head n⁺_kl; all other tensors the client's share of known entries."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        return weight_of_rows(delta, known_share(own, federation), own.positives)
