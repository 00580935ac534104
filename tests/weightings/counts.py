"""Hospitals as counts of known entries and positives, and deltas of a model with all its parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import torch
from torch import Tensor

from concilium.federation.messages import Update
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.weightings.contract import Weighting
from tests.worlds import in_float64

HEAD = ("head.weight", "head.bias")


def hospital(images: int, known: Sequence[int], positives: Sequence[int]) -> LabelStatistics:
    """Counts of images of which the first so many are known, and the first of these present."""
    rows = np.arange(images)[:, None]
    present = (rows < np.array(positives)).astype(np.float32)
    return LabelStatistics.of(present, rows < np.array(known), np.arange(images))


def federation_of(hospitals: Sequence[LabelStatistics]) -> LabelStatistics:
    """The summed counts."""
    return reduce(add, hospitals)


def random_delta(num_labels: int, seed: int = 0) -> NamedTensors:
    """A delta with an encoder, a head and a label graph."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.0.weight": (6, 1, 3, 3),
        "encoder.0.bias": (6,),
        "head.weight": (num_labels, 6),
        "head.bias": (num_labels,),
        "graph.coupling": (num_labels, num_labels),
    }
    return NamedTensors(
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    )


def weights(weighting: Weighting, hospitals: Sequence[LabelStatistics]) -> list[NamedTensors]:
    """What each hospital's update weighs in their federation."""
    together = federation_of(hospitals)
    delta = random_delta(len(together.known))
    return [weighting(delta, own, together) for own in hospitals]


def rows(weight: NamedTensors, num_labels: int) -> Tensor:
    """The weights of the rows of the head (L,), equal where there is one for all."""
    return weight["head.bias"].double().expand(num_labels)


def mean_delta(
    weighting: Weighting, hospitals: Sequence[LabelStatistics], deltas: Sequence[NamedTensors]
) -> NamedTensors:
    """Σ a_k Δ_k / Σ a_k over all hospitals."""
    together = federation_of(hospitals)
    updates = []
    for own, delta in zip(hospitals, deltas, strict=True):
        weight = weighting(delta, own, together)
        updates.append(in_float64(Update(delta * weight, weight)))
    return reduce(add, updates).mean_delta()
