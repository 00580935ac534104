"""Evidence and a label prior to log-odds of each label: Bayes' rule over label sets.

    P(y | x) ∝ exp(Σ_l y_l z_l) π(y)
    log-odds_l = log Σ_{y: y_l=1} P(y | x) − log Σ_{y: y_l=0} P(y | x)

with evidence z (N, L), the log-likelihood ratio of each label from the image alone. Up to 16 labels
all 2^L label sets are summed, exactly. Above, naive mean field (Peterson, Anderson, "A Mean Field
Theory Learning Algorithm for Neural Networks", Complex Systems 1987; Jordan, Ghahramani, Jaakkola,
Saul, "An Introduction to Variational Methods for Graphical Models", Machine Learning 1999):

    q_l = σ(z_l + θ_l + Σ_m J_lm q_m)

iterated from J = 0, half a step at a time. It is good where couplings are weak and overconfident
where they are strong. With J = 0 either way gives z + θ itself. (The papers
were not seen; the fixed point follows from the Kullback-Leibler divergence to a product.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from concilium.foundation.errors import InputError
from concilium.joint.label_prior import MOST_ENUMERATED, LabelPrior, label_sets

CELLS = 2**19
"""Entries (exams × label sets) held at a time: 4 MB, which stay in a processor's cache."""
DAMPING, MAX_STEPS, TOLERANCE = 0.5, 500, 1e-10


def posterior_log_odds(evidence: Tensor, prior: LabelPrior) -> Tensor:
    """Log-odds (N, L), float64, of each label given evidence (N, L) and the prior.

    Exact up to 16 labels, by mean field above. Exactly z + θ where no two labels are coupled.
    """
    if not bool(prior.coupling.any()):
        return evidence.double() + prior.bias.to(evidence.device)
    if len(prior.bias) <= MOST_ENUMERATED:
        return enumerated(evidence, prior)
    return mean_field(evidence, prior)


def enumerated(evidence: Tensor, prior: LabelPrior) -> Tensor:
    """Exact log-odds (N, L), float64, from all 2^L label sets, for at most 16 labels.

    Right where the evidence and log π's range together stay within 700, as far as float64 goes;
    beyond, log-odds stop there. Raises InputError for more labels.
    """
    # Evidence adds up over labels, so its exponential is a product: a set is a pair (a, b) of sets
    # of the first and the second half, and Σ_ab e(a) π(a, b) e(b) is a product of matrices.
    num = len(prior.bias)
    _, weight = _sets(prior, evidence)
    half = num // 2
    first, second = (label_sets(n).to(evidence.device) for n in (half, num - half))
    table = (weight - weight.max()).exp().view(len(second), len(first))
    found = [torch.empty_like(evidence, dtype=torch.float64)[:0]]
    for rows in torch.split(evidence.double(), max(1, CELLS // len(second))):
        left, right = _weights(rows[:, :half], first), _weights(rows[:, half:], second)
        parts = ((left * (right @ table), first), (right * (left @ table.T), second))
        present = torch.cat([weights @ sets for weights, sets in parts], 1)
        absent = torch.cat([weights @ (1 - sets) for weights, sets in parts], 1)
        found.append(_log(present) - _log(absent))
    return torch.cat(found)


def _weights(evidence: Tensor, sets: Tensor) -> Tensor:
    """Compute exp(Σ y z) (N, S) of every set, the greatest of an exam scaled to 1."""
    energy = evidence @ sets.T
    return (energy - energy.amax(1, keepdim=True)).exp()


def _log(weight: Tensor) -> Tensor:
    return weight.clamp_min(torch.finfo(weight.dtype).tiny).log()


def most_probable(evidence: Tensor, prior: LabelPrior) -> Tensor:
    """The most probable label set (N, L) bool of each exam; the first of equals.

    It need not be what the single labels' log-odds say: of two sets that exclude each other, one
    is named. Raises InputError above 16 labels.
    """
    sets, weight = _sets(prior, evidence)
    found = [torch.empty_like(evidence, dtype=torch.bool)[:0]]
    for rows in torch.split(evidence.double(), max(1, CELLS // len(sets))):
        found.append(sets[torch.addmm(weight, rows, sets.T).argmax(1)] > 0)
    return torch.cat(found)


def mean_field(evidence: Tensor, prior: LabelPrior) -> Tensor:
    """Approximate log-odds (N, L), float64, for any number of labels; deterministic.

    Ends where no probability moves by more than 1e-10, or after 500 steps.
    """
    alone = evidence.double() + prior.bias.to(evidence.device)
    coupling = prior.coupling.to(evidence.device)
    probability = alone.sigmoid()
    for _ in range(MAX_STEPS):
        change = (alone + probability @ coupling).sigmoid() - probability
        probability = probability + DAMPING * change
        if change.numel() == 0 or float(change.abs().max()) <= TOLERANCE:
            break
    return alone + probability @ coupling


def _sets(prior: LabelPrior, evidence: Tensor) -> tuple[Tensor, Tensor]:
    """All label sets (2^L, L) and their log-weights (2^L,), where the evidence is."""
    num = len(prior.bias)
    if num > MOST_ENUMERATED:
        raise InputError(f"{num} labels are more than the {MOST_ENUMERATED} that are enumerated")
    sets = label_sets(num).to(evidence.device)
    return sets, prior.log_weight(sets)
