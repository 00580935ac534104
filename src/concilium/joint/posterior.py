"""Evidence and a label prior to log-odds of each label: Bayes' rule over label sets.

    P(y | x) ∝ exp(Σ_l y_l z_l) π(y)
    log-odds_l = log Σ_{y: y_l=1} P(y | x) − log Σ_{y: y_l=0} P(y | x)

with evidence z (N, L), the log-likelihood ratio of each label from the image alone. Up to 16 labels
all 2^L label sets are summed, exactly. Above, naive mean field (Peterson, Anderson, "A Mean Field
Theory Learning Algorithm for Neural Networks", Complex Systems 1987; Jordan, Ghahramani, Jaakkola,
Saul, "An Introduction to Variational Methods for Graphical Models", Machine Learning 1999):

    q_l = σ(z_l + θ_l + Σ_m J_lm q_m)

solved from J = 0 one label after the other, each with the newest q of the others. That is
coordinate ascent of the variational bound, which never falls, so it ends at a fixed point whatever
J is; moving all labels at once swings for ever where they exclude each other. It is good where
couplings are weak and overconfident where they are strong. With J = 0 either way gives z + θ
itself. (The papers were not seen; the fixed point follows from the Kullback-Leibler divergence to a
product.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from concilium.foundation.errors import InputError
from concilium.joint.label_prior import MOST_ENUMERATED, LabelPrior, label_sets

CELLS = 2**19
"""Entries (exams × label sets) held at a time: 4 MB, which stay in a processor's cache."""
LEAST = 1e-280
"""A sum below is taken again by its logarithm; to one above, what underflows adds nothing."""
MAX_SWEEPS, TOLERANCE = 10_000, 1e-10


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

    As far as float64 goes, also where log-odds are in the thousands: exams of which a sum would
    underflow are summed by logarithms, more slowly. Raises InputError for more labels.
    """
    num = len(prior.bias)
    sets, weight = _sets(prior, evidence)
    table = (weight - weight.max()).exp()
    found = [torch.empty_like(evidence, dtype=torch.float64)[:0]]
    for rows in torch.split(evidence.double(), max(1, CELLS // 2 ** ((num + 1) // 2))):
        log_odds, lost = _by_products(rows, table)
        for own in torch.split(lost.nonzero()[:, 0], max(1, CELLS // len(sets))):
            energy = torch.addmm(weight, rows[own], sets.T)
            log_odds[own] = _by_logarithms(energy, num)
        found.append(log_odds)
    return torch.cat(found)


def _by_products(evidence: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds (N, L), and the exams (N,) where a sum underflows, from weights (2^L,) up to 1."""
    # Evidence adds up over labels, so its exponential is a product: a set is a pair (a, b) of sets
    # of the first and the second half, and Σ_ab e(a) π(a, b) e(b) is a product of matrices.
    first, second = _halves(evidence.shape[1], evidence)
    half, table = first.shape[1], weight.view(len(second), len(first))
    left, right = _weights(evidence[:, :half], first), _weights(evidence[:, half:], second)
    parts = ((left * (right @ table), first), (right * (left @ table.T), second))
    present = torch.cat([weights @ sets for weights, sets in parts], 1)
    absent = torch.cat([weights @ (1 - sets) for weights, sets in parts], 1)
    lost = ((present < LEAST) | (absent < LEAST)).any(1)
    return present.log() - absent.log(), lost


def _by_logarithms(energy: Tensor, num_labels: int) -> Tensor:
    """Log-odds (N, L) from log-weights (N, 2^L): one half of the labels is summed out, then all."""
    first, second = _halves(num_labels, energy)
    pairs = energy.view(len(energy), len(second), len(first))
    found = []
    for own, sets in ((pairs.logsumexp(1), first), (pairs.logsumexp(2), second)):
        for present in (sets > 0).unbind(1):
            found.append(own[:, present].logsumexp(1) - own[:, ~present].logsumexp(1))
    return torch.stack(found, 1)


def _halves(num_labels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The sets (S, l) of the first labels and of the others."""
    half = num_labels // 2
    return label_sets(half).to(like.device), label_sets(num_labels - half).to(like.device)


def _weights(evidence: Tensor, sets: Tensor) -> Tensor:
    """Compute exp(Σ y z) (N, S) of every set, the greatest of an exam scaled to 1."""
    energy = evidence @ sets.T
    return (energy - energy.amax(1, keepdim=True)).exp()


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

    An exam's least likely label (by z + θ) is updated first, so it gives way, and its likeliest
    last; of equally likely ones the first comes first. Where labels strongly exclude each other
    there can be several fixed points, and with equally likely labels it may depend on their order
    which is found. An exam ends where no probability moves by more than 1e-10 in a sweep, or after
    10,000 sweeps.
    """
    alone = evidence.double() + prior.bias.to(evidence.device)
    coupling = prior.coupling.to(evidence.device)
    order = alone.argsort(dim=1, stable=True)
    probability = alone.sigmoid()
    moving = torch.arange(len(alone), device=alone.device)
    for _ in range(MAX_SWEEPS):
        before, own, field = probability[moving], probability[moving], alone[moving]
        exams = torch.arange(len(own), device=own.device)
        for label in order[moving].unbind(1):
            others = (own * coupling[label]).sum(1)
            own[exams, label] = (field[exams, label] + others).sigmoid()
        probability[moving] = own
        moving = moving[((own - before).abs() > TOLERANCE).any(1)]
        if len(moving) == 0:
            break
    return alone + probability @ coupling


def _sets(prior: LabelPrior, evidence: Tensor) -> tuple[Tensor, Tensor]:
    """All label sets (2^L, L) and their log-weights (2^L,), where the evidence is."""
    num = len(prior.bias)
    if num > MOST_ENUMERATED:
        raise InputError(f"{num} labels are more than the {MOST_ENUMERATED} that are enumerated")
    sets = label_sets(num).to(evidence.device)
    return sets, prior.log_weight(sets)
