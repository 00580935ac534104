"""Weights for the rows of the head, one a label, and one for all other tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


def weight_of_rows(delta: NamedTensors, body: float, rows: npt.NDArray[np.generic]) -> NamedTensors:
    """``rows`` (L,) for the rows of the head's tensors, ``body`` for every other tensor.

    A label graph couples rows with each other (its tensors are no row's own): it goes with the
    body.
    """
    per_row = torch.from_numpy(rows.astype(np.float64))

    def weight(name: str, tensor: Tensor) -> Tensor:
        if not name.startswith("head."):
            return torch.tensor(float(body))
        return per_row.to(tensor).reshape(-1, *[1] * (tensor.ndim - 1))

    return NamedTensors({name: weight(name, tensor) for name, tensor in delta.items()})


def known_share(own: LabelStatistics, federation: LabelStatistics) -> float:
    """The client's part of all known entries, in [0, 1]; 0 where nobody knows any."""
    return float(own.known.sum() / max(1, federation.known.sum()))
