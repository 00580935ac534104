"""One number a label, from the federation's counts: what bound losses keep in a field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics

Floats = npt.NDArray[np.float64]

PerLabel = tuple[float, ...]
"""One number a label, in label order; empty where the loss is not bound and none was set."""


def per_label(name: str, values: PerLabel, like: Tensor) -> Tensor:
    """The values (L,) of a field, in the type and on the device of logits (B, L).

    Raises InputError, with the field's name, where they are not one for each label.
    """
    if len(values) != like.shape[1]:
        raise InputError(f"{name} has {len(values)} values for {like.shape[1]} labels")
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def smoothed_prevalence(statistics: LabelStatistics) -> Floats:
    """(n⁺ + ½) / (n + 1) of each label (L,), within (0, 1) also where it never or always occurs."""
    return (statistics.positives + 0.5) / (statistics.known + 1.0)


def floats(values: Floats) -> PerLabel:
    """The same numbers as a field keeps them."""
    return tuple(values.tolist())


def strictly_between_0_and_1(name: str, values: PerLabel) -> None:
    """Raise InputError unless every value of a field has finite log-odds."""
    if not all(0 < value < 1 for value in values):
        raise InputError(f"{name}={values!r} must lie between 0 and 1, not at them")
