"""What exact heads share: targets of a client, summed moments of features, standardisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.federation.client import Client
from concilium.federation.requests import Request
from concilium.foundation.named_tensors import NamedTensors


@dataclass(frozen=True)
class Moments:
    """Σ 1, Σ h (d,), Σ h² (d,) over training exams, and positives and negatives (L,) by label.

    ``contrasted`` (L,) are the known entries at hospitals that hold positives and negatives both.
    """

    count: float
    first: Tensor
    second: Tensor
    positives: Tensor
    negatives: Tensor
    contrasted: Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.first + other.first,
            self.second + other.second,
            self.positives + other.positives,
            self.negatives + other.negatives,
            self.contrasted + other.contrasted,
        )

    @property
    def both(self) -> Tensor:
        """Labels (L,) with a positive and a negative."""
        return (self.positives > 0) & (self.negatives > 0)

    def log_odds(self) -> Tensor:
        """Log-odds (L,) of each label; finite, by half an entry, where all or none are present."""
        return (self.positives.clamp_min(0.5) / self.negatives.clamp_min(0.5)).log()


@dataclass(frozen=True)
class MomentsRequest(Request[Moments]):
    """What are the moments of the encoder's outputs, and how many positives are there?"""

    model: NamedTensors

    def answer(self, client: Client) -> Moments:
        features = torch.from_numpy(client.features(self.model, "train")).double()
        target, known = labels_of(client, "train")
        positives, negatives = target.sum(0), (known - target).sum(0)
        return Moments(
            float(len(features)),
            features.sum(0),
            features.square().sum(0),
            positives,
            negatives,
            known.sum(0) * ((positives > 0) & (negatives > 0)),
        )


@dataclass(frozen=True)
class Scale:
    """Standardisation of the encoder's outputs: (h − mean) / deviation, then a column of ones."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(moments: Moments) -> Scale:
        """From summed moments; a constant feature keeps its scale."""
        mean = moments.first / moments.count
        variance = (moments.second / moments.count - mean.square()).clamp_min(0)
        constant = variance <= 1e-12 * (1 + mean.square())
        return Scale(mean, torch.where(constant, torch.ones_like(variance), variance).sqrt())

    def design(self, features: Tensor) -> Tensor:
        """The design matrix (N, d+1), float64."""
        scaled = (features.double() - self.mean) / self.deviation
        return torch.cat([scaled, torch.ones(len(scaled), 1, dtype=torch.float64)], dim=1)

    def fold(self, solution: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (L, d) and bias (L,) for unscaled features, from a solution (L, d+1)."""
        weight = solution[:, :-1] / self.deviation
        return weight, solution[:, -1] - weight @ self.mean


def labels_of(client: Client, part: str) -> tuple[Tensor, Tensor]:
    """Target and known (N, L) of one part, float64; both 0 at an unknown entry."""
    target, known = client.labels(part)
    return target.double().masked_fill(~known, 0.0), known.double()


def rows_of(values: Tensor, rows: Tensor, num_labels: int) -> Tensor:
    """Values (A, …) at the rows (A,) of L; 0 elsewhere."""
    placed = torch.zeros(num_labels, *values.shape[1:], dtype=torch.float64)
    placed[rows] = values
    return placed
