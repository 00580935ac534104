"""Binary cross-entropy −y log p − (1−y) log(1−p), the mean over known entries.

Sends: nothing of its own.
Costs: no bytes and no forward pass.
Secure sum: yes, nothing is added to what the algorithm sends.
Differential privacy: yes, where every label is known: a mean of per-image losses. With unknown
labels a batch is divided by its own number of known entries, in whose place DP-SGD must put a fixed
number.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from concilium.losses.contract import Loss, mean_over_known, without_unknown


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Binary cross-entropy: every known entry says the same, so common labels say the most."""

    @property
    def gives_log_odds(self) -> bool:
        return True

    def __call__(
        self, logits: Tensor, target: Tensor, known: Tensor, label_weight: Tensor | None = None
    ) -> Tensor:
        logits, target = without_unknown(logits, target, known)
        values = binary_cross_entropy_with_logits(logits, target, reduction="none")
        return mean_over_known(values, known, label_weight)

    @classmethod
    def like_bce(cls) -> BinaryCrossEntropy:
        return cls()
