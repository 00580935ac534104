"""Sampled worlds with a known joint model of labels, and slow sums over all label sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from concilium.joint.label_prior import LabelPrior, label_sets
from concilium.labels.statistics import LabelStatistics


def random_prior(num_labels: int, seed: int, strength: float = 1.0) -> LabelPrior:
    """Findings of about one exam in five; couplings with the standard deviation ``strength``."""
    generator = torch.Generator().manual_seed(seed)
    bias = -1.5 + torch.randn(num_labels, generator=generator, dtype=torch.float64) / 2
    above = torch.randn(num_labels, num_labels, generator=generator, dtype=torch.float64).triu(1)
    return LabelPrior(bias, strength * (above + above.T))


def probabilities(prior: LabelPrior) -> Tensor:
    """π(y) (2^L,) of every label set."""
    return prior.log_weight(label_sets(len(prior.bias))).softmax(0)


def moments(prior: LabelPrior) -> Tensor:
    """P(l and m) (L, L) under the prior; P(l) on the diagonal."""
    sets = label_sets(len(prior.bias))
    return (sets * probabilities(prior)[:, None]).T @ sets


def drawn(prior: LabelPrior, num: int, seed: int) -> Tensor:
    """Label sets (N, L) bool drawn from the prior."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.multinomial(probabilities(prior), num, replacement=True, generator=generator)
    return label_sets(len(prior.bias))[rows] > 0


def statistics_of(present: Tensor, known: Tensor | None = None) -> LabelStatistics:
    """Statistics of label sets (N, L), every label known unless told otherwise."""
    mask = torch.ones_like(present, dtype=torch.bool) if known is None else known
    target = present.float().numpy()
    return LabelStatistics.of(target, mask.numpy(), np.arange(len(target)))


def true_evidence(present: Tensor, seed: int, distance: float = 1.0) -> Tensor:
    """Log-likelihood ratio (N, L) of a measurement that is N(distance · y, 1) for each label."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(present.shape, generator=generator, dtype=torch.float64)
    return distance * (distance * present + noise) - distance**2 / 2


def log_loss(log_odds: Tensor, present: Tensor) -> float:
    """Mean negative log-likelihood of each label by itself."""
    return float((softplus(log_odds) - present * log_odds).mean())


def by_loops(evidence: Tensor, prior: LabelPrior) -> Tensor:
    """Posterior log-odds (N, L) as the equation says, one label set after the other."""
    num = len(prior.bias)
    found = torch.zeros_like(evidence, dtype=torch.float64)
    for row, own in enumerate(evidence.tolist()):
        weights = {
            y: math.exp(
                sum(y[i] * (own[i] + float(prior.bias[i])) for i in range(num))
                + sum(
                    y[i] * y[j] * float(prior.coupling[i, j])
                    for i in range(num)
                    for j in range(i + 1, num)
                )
            )
            for y in itertools.product((0, 1), repeat=num)
        }
        for label in range(num):
            present = sum(w for y, w in weights.items() if y[label])
            absent = sum(w for y, w in weights.items() if not y[label])
            found[row, label] = math.log(present / absent)
    return found


def permuted(prior: LabelPrior, order: list[int]) -> LabelPrior:
    """The same prior with its labels in another order."""
    return LabelPrior(prior.bias[order], prior.coupling[order][:, order])
