"""Posterior log-odds of 2,000 exams × 14 labels, all 16,384 label sets, against a naive loop.

    python benchmarks/joint_posterior.py

The naive loop does what the equation says for one exam after another with NumPy: the weight of
every label set, then the two sums of each label. It is timed on a few exams and extrapolated, which
is said in the output. Mean field, which takes over above 16 labels, is timed beside them, and so is
the fit of the prior, the federation's and a hospital's. Everything is measured in one run; exit
code 1 where the posterior takes over a second or differs from the loop by more than 1e-9.
"""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from concilium.foundation.seeds import torch_generator
from concilium.joint.label_prior import LabelPrior, label_sets
from concilium.joint.maximum_entropy import fit_label_prior, fit_site_prior
from concilium.joint.posterior import enumerated, mean_field
from concilium.labels.statistics import LabelStatistics

NUM_EXAMS, NUM_LABELS, NUM_TRAIN, NUM_SITE, TIMED_EXAMS = 2000, 14, 100_000, 2000, 20
MOST_SECONDS = 1.0


def world() -> tuple[LabelPrior, Tensor]:
    """A prior with the rarity of chest findings (0.2 to 12 %), and evidence for exams (N, L)."""
    draw = torch_generator(0, "joint posterior")
    bias = -2 - 4 * torch.rand(NUM_LABELS, generator=draw, dtype=torch.float64)
    above = torch.randn(NUM_LABELS, NUM_LABELS, generator=draw, dtype=torch.float64).triu(1)
    evidence = 3 * torch.randn(NUM_EXAMS, NUM_LABELS, generator=draw, dtype=torch.float64)
    return LabelPrior(bias, (above + above.T) / 2), evidence


def statistics_of(prior: LabelPrior, num: int) -> LabelStatistics:
    """Counts of label sets drawn from the prior."""
    sets = label_sets(NUM_LABELS)
    draw = torch_generator(num, "label sets")
    rows = torch.multinomial(prior.log_weight(sets).softmax(0), num, True, generator=draw)
    target = sets[rows].float().numpy()
    return LabelStatistics.of(target, np.ones_like(target, bool), np.arange(num))


def naive(evidence: Tensor, prior: LabelPrior) -> Tensor:
    """One exam after another, one label after another."""
    sets = label_sets(NUM_LABELS).numpy()
    weight = prior.log_weight(label_sets(NUM_LABELS)).numpy()
    found = np.empty(evidence.shape)
    for row, own in enumerate(evidence.numpy()):
        likely = np.exp(sets @ own + weight)
        for label in range(NUM_LABELS):
            present = sets[:, label] > 0
            found[row, label] = np.log(likely[present].sum() / likely[~present].sum())
    return torch.from_numpy(found)


def main() -> int:
    prior, evidence = world()
    print(f"{NUM_EXAMS:,} exams × {NUM_LABELS} labels, {2**NUM_LABELS:,} label sets")
    begun = perf_counter()
    found = enumerated(evidence, prior)
    own = perf_counter() - begun
    begun = perf_counter()
    slow = naive(evidence[:TIMED_EXAMS], prior)
    loop = (perf_counter() - begun) * NUM_EXAMS / TIMED_EXAMS
    begun = perf_counter()
    approximate = mean_field(evidence, prior)
    field = perf_counter() - begun
    error = float((found[:TIMED_EXAMS] - slow).abs().max())
    off = float((found.sigmoid() - approximate.sigmoid()).abs().mean())
    print(f"all label sets, measured:     {own:8.2f} s (demanded: {MOST_SECONDS:.0f} s)")
    print(f"naive loop, EXTRAPOLATED      {loop:8.2f} s from {TIMED_EXAMS} exams")
    print(f"ratio: {loop / own:.0f} times faster; largest difference {error:.1e}")
    print(f"mean field, measured:         {field:8.2f} s; mean error of a probability {off:.4f}")
    federation, site = (statistics_of(prior, num) for num in (NUM_TRAIN, NUM_SITE))
    begun = perf_counter()
    fitted = fit_label_prior(federation)
    print(f"the federation's prior, {NUM_TRAIN:,} exams: {perf_counter() - begun:.2f} s")
    begun = perf_counter()
    fit_site_prior(site, federation, fitted)
    print(f"a hospital's prior, {NUM_SITE:,} exams:      {perf_counter() - begun:.2f} s")
    return 0 if own <= MOST_SECONDS and error <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
