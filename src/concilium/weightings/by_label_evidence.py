"""Average the row of a label by the hospitals' evidence of it, e_kl = n⁺n⁻/(n⁺+n⁻); shrunk.

    a_kl = m_kl [(1 − s_l) e_kl / E_l + s_l a_k],   s_l = T / (T + N⁺_l),   a_k = known share

a_k, the client's part of all known entries, is the weight of the body and of whatever is no row of
the head (a label graph included); m_kl is 1 where client k knows an entry of label l and else 0.
e_kl is half the harmonic mean of positives and negatives, the size that a comparison of the two
has: it is 0 at a hospital of positives alone, which so gets no say from them, and grows with the
rarer side. The fewer positives N⁺_l the federation has, the more a row goes with the body.

No paper: ours. E_l = N⁺N⁻/(N⁺+N⁻) is the evidence of the pooled counts, which every client has
already. It is at least Σ_k e_kl, and more where hospitals hold positives and negatives apart; the
exact sum would take one more exchange. So rows shrink further towards a_k the more the evidence is
scattered. E_l = 0 leaves a_k alone; the mean delta of a row that nobody in the cohort annotates is
0 (a server optimiser with memory may move the row all the same).

Privacy: a row that one or two hospitals hold is nearly theirs even under secure summation. Who
holds a label cannot be read from summed counts, so no rule here guards against it: use rows by
evidence where a label has at least three holders, or with differential privacy, and else
``by_known_entries``.

Sends: one number a tensor and L a tensor of the head. Without secure sum the server reads from
them e_kl of each label, which is nearly the number of positives of a rare one.
Costs: 4 bytes a tensor and client up, 4 L for each tensor of the head; no more forward passes.
Secure sum: yes, the server needs the sums only; see above for labels with few holders.
Differential privacy: no, the weight of a row follows from exact counts of positives and negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.foundation.checks import positive
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings._rows import known_share, weight_of_rows
from concilium.weightings.contract import Weighting

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ByLabelEvidence(Weighting):
    """``shrinkage`` T > 0: with as many positives in the federation, evidence has half the say."""

    shrinkage: float = 10.0

    def __post_init__(self) -> None:
        positive(shrinkage=self.shrinkage)

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        plain = known_share(own, federation)
        pooled = evidence(federation)
        of_evidence = evidence(own) / np.where(pooled > 0, pooled, 1)
        shrunk = self.shrinkage / (self.shrinkage + federation.positives)
        rows = (own.known > 0) * ((1 - shrunk) * of_evidence + shrunk * plain)
        return weight_of_rows(delta, plain, rows)


def evidence(statistics: LabelStatistics) -> Floats:
    """n⁺n⁻/(n⁺+n⁻) of each label (L,); 0 where positives or negatives are missing."""
    known = np.maximum(1, statistics.known)
    product: Floats = statistics.positives * (statistics.negatives / known)
    return product
