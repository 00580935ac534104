"""Class prototypes, from sums: mean features of images with a label, and of images without it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from concilium.federation.client import Labels
from concilium.foundation.named_tensors import NamedTensors


def class_sums(features: Tensor, labels: Labels) -> NamedTensors:
    """Sums (L, d) of features (N, d) over known positives and negatives of each label; counts."""
    target, known = labels
    present = ((target > 0.5) & known).to(features.dtype)
    absent = ((target <= 0.5) & known).to(features.dtype)
    return NamedTensors(
        {
            "present.features": present.T @ features,
            "present.count": present.sum(dim=0),
            "absent.features": absent.T @ features,
            "absent.count": absent.sum(dim=0),
        }
    )


def nearness_to_absent(features: Tensor, sums: NamedTensors) -> Tensor:
    """Cosine to the prototype of absence less that to presence (N, L); NaN without one of them."""
    h = normalize(features, dim=1)
    # The cosine with a sum is that with its mean.
    absent, present = (normalize(sums[f"{side}.features"], dim=1) for side in ("absent", "present"))
    undefined = (sums["absent.count"] == 0) | (sums["present.count"] == 0)
    return (h @ absent.T - h @ present.T).masked_fill(undefined, torch.nan)


def newest(before: NamedTensors, now: NamedTensors) -> NamedTensors:
    """The new sums, but a label's older ones where nobody annotated it this time."""
    if not before or not now:
        return now or before
    annotated = now["present.count"] + now["absent.count"] > 0

    def choose(old: Tensor, new: Tensor) -> Tensor:
        return torch.where(annotated if new.ndim == 1 else annotated.unsqueeze(1), new, old)

    return before.combine(now, choose)
