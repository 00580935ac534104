"""The label prior: how probable each set of labels is before an image is seen.

A pairwise Ising model (Ising, "Beitrag zur Theorie des Ferromagnetismus", Zeitschrift für Physik
1925) over label sets y ∈ {0,1}^L:

    π(y) ∝ exp(Σ_l θ_l y_l + Σ_{l<m} J_lm y_l y_m)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelPrior:
    """``bias`` θ (L,) and ``coupling`` J (L, L), symmetric with a zero diagonal; both float64."""

    bias: Tensor
    coupling: Tensor

    @staticmethod
    def independent(bias: Tensor) -> LabelPrior:
        """Labels that say nothing of each other, with these log-odds (L,)."""
        return LabelPrior(bias.double(), torch.zeros(len(bias), len(bias), dtype=torch.float64))
