"""The label prior: how probable each set of labels is before an image is seen.

A pairwise Ising model (Ising, "Beitrag zur Theorie des Ferromagnetismus", Zeitschrift für Physik
1925) over label sets y ∈ {0,1}^L:

    π(y) ∝ exp(Σ_l θ_l y_l + Σ_{l<m} J_lm y_l y_m)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_ENUMERATED = 16
"""Labels up to which all 2^L label sets are enumerated; beyond, approximations take over."""


@dataclass(frozen=True)
class LabelPrior:
    """``bias`` θ (L,) and ``coupling`` J (L, L), symmetric with a zero diagonal; both float64."""

    bias: Tensor
    coupling: Tensor

    @staticmethod
    def independent(bias: Tensor) -> LabelPrior:
        """Labels that say nothing of each other, with these log-odds (L,)."""
        return LabelPrior(bias.double(), torch.zeros(len(bias), len(bias), dtype=torch.float64))

    def coupled_by(self, more: Tensor) -> LabelPrior:
        """The prior times exp(Σ_{l<m} K_lm y_l y_m), K = ``more`` (L, L) with a zero diagonal."""
        return LabelPrior(self.bias, self.coupling + more.to(self.coupling))

    def log_weight(self, sets: Tensor) -> Tensor:
        """Compute log π(y) (S,) of label sets (S, L), but for the constant that norms π."""
        bias, coupling = self.bias.to(sets), self.coupling.to(sets)
        weight: Tensor = sets @ bias + ((sets @ coupling) * sets).sum(1) / 2
        return weight


def label_sets(num_labels: int) -> Tensor:
    """All 2^L label sets (2^L, L), float64; label l is bit l of the row's number.

    >>> label_sets(2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    numbers = torch.arange(2**num_labels)[:, None]
    return (numbers >> torch.arange(num_labels) & 1).double()
