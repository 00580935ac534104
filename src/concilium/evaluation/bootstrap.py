"""Confidence intervals by a bootstrap over PATIENTS whose replicates add up over hospitals.

James Hanley and Brenda MacGibbon, Creating non-parametric bootstrap samples using Poisson
frequencies, Computer Methods and Programs in Biomedicine 2006; Nicholas Chamandy, Omkar
Muralidharan, Amir Najmi and Siddartha Naidu, Estimating uncertainty for massive data streams,
Google technical report 2012: in each replicate every patient counts Poisson(1) times. The weights
of different patients are independent, so each hospital draws its own, and the replicate histograms
of all hospitals add up to those of the federation. Nothing is sorted again: the histograms of a
replicate are (bins × patients) counts times the patients' weights.

    blocks = federation_blocks([patients_a, patients_b], plan)      # in one place, or by messages
    values = replicate_values(blocks, average_precision)            # (R, L)
    low, high, num_undefined = interval(values)                     # (L,) each
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from concilium.evaluation.entries import checked_entries
from concilium.evaluation.histograms import NUM_BINS, Bools, Floats, bin_of
from concilium.foundation.checks import at_least, fraction, one_of
from concilium.foundation.seeds import numpy_generator

Weights = npt.NDArray[np.float32]
ReplicateCounts = npt.NDArray[np.int32]
Statistic = Callable[[ReplicateCounts, ReplicateCounts], Floats]


@dataclass(frozen=True)
class BootstrapPlan:
    """How replicates are drawn.

    ``resampling``: ``poisson`` (weights of patients independent: adds up over hospitals) or
    ``multinomial`` (exactly n patients with replacement: right only where all exams are in one
    place). ``block``: replicates held at a time; it changes memory, never the result.
    """

    num_replicates: int = 1000
    seed: int = 0
    resampling: str = "poisson"
    block: int = 100

    def __post_init__(self) -> None:
        at_least(1, num_replicates=self.num_replicates, block=self.block)
        one_of(("poisson", "multinomial"), resampling=self.resampling)

    def blocks(self) -> Iterator[range]:
        """The replicates in blocks, in order."""
        for first in range(0, self.num_replicates, self.block):
            yield range(first, min(first + self.block, self.num_replicates))

    def weights(self, client: str | int, num_patients: int, replicates: range) -> Weights:
        """How often each patient of a client counts (P, R); a seed of its own each replicate."""
        columns = [self._draw(client, num_patients, replicate) for replicate in replicates]
        return np.stack(columns, 1, dtype=np.float32, casting="unsafe")

    def _draw(self, client: str | int, num_patients: int, replicate: int) -> npt.NDArray[np.int64]:
        generator = numpy_generator(self.seed, "bootstrap", client, replicate)
        if self.resampling == "poisson":
            return generator.poisson(1.0, num_patients)
        drawn = generator.integers(num_patients, size=num_patients)
        return np.bincount(drawn, minlength=num_patients)


@dataclass(frozen=True)
class ReplicateSums:
    """Score histograms of some replicates, present and absent (R, L, B); ``+`` adds hospitals."""

    positives: ReplicateCounts
    negatives: ReplicateCounts

    def __add__(self, other: ReplicateSums) -> ReplicateSums:
        """Both hospitals together, replicate by replicate."""
        return ReplicateSums(self.positives + other.positives, self.negatives + other.negatives)


@dataclass(frozen=True)
class PatientHistograms:
    """What stays at a hospital: for each label, entries by (absent bins, present bins) × patient.

    ``by_label``: L sparse arrays (2 B, P); patients in the order of their sorted numbers, so the
    order of the exams does not matter.
    """

    client: str | int
    num_patients: int
    by_label: tuple[csr_array, ...]

    @staticmethod
    def of(
        client: str | int,
        scores: npt.ArrayLike,
        target: npt.ArrayLike,
        known: npt.ArrayLike,
        patient: npt.ArrayLike,
    ) -> PatientHistograms:
        """Counts of one client's exams; arguments as in ``EvaluationSums.of``."""
        scores, target, known, patient = checked_entries(scores, target, known, patient)
        numbers, index = np.unique(patient, return_inverse=True)
        rows = bin_of(scores) + NUM_BINS * (target > 0.5)
        shape = (2 * NUM_BINS, len(numbers))
        by_label = tuple(
            _counts(rows[:, i], index, known[:, i], shape) for i in range(rows.shape[1])
        )
        return PatientHistograms(client, len(numbers), by_label)

    def resampled(self, weights: Weights) -> ReplicateSums:
        """Histograms of replicates under patients' weights (P, R): counts × weights, exactly."""
        halves = np.empty((2, weights.shape[1], len(self.by_label), NUM_BINS), np.int32)
        for label, counts in enumerate(self.by_label):
            both = (counts @ weights).reshape(2, NUM_BINS, -1)
            halves[:, :, label] = both.transpose(0, 2, 1)
        return ReplicateSums(positives=halves[1], negatives=halves[0])

    def replicates(self, plan: BootstrapPlan) -> Iterator[ReplicateSums]:
        """The client's replicate sums, block by block."""
        for block in plan.blocks():
            yield self.resampled(plan.weights(self.client, self.num_patients, block))


class Interval(NamedTuple):
    """Percentile interval of each label (…,), and how many replicates were undefined."""

    low: Floats
    high: Floats
    num_undefined: npt.NDArray[np.int64]


def federation_blocks(
    clients: Iterable[PatientHistograms], plan: BootstrapPlan
) -> Iterator[ReplicateSums]:
    """Replicate sums of several clients together, block by block."""
    for blocks in zip(*(client.replicates(plan) for client in clients), strict=True):
        total = blocks[0]
        for block in blocks[1:]:
            total = total + block
        yield total


def replicate_values(blocks: Iterable[ReplicateSums], statistic: Statistic) -> Floats:
    """The statistic of each replicate (R, L): statistic maps histograms (…, B) twice to (…)."""
    return np.concatenate([statistic(block.positives, block.negatives) for block in blocks])


def interval(values: Floats, confidence: float = 0.95) -> Interval:
    """Percentile interval over replicates (R, …); those that are NaN are left out and counted.

    NaN where fewer than half of the replicates are defined: an interval of the lucky ones would
    be too narrow.
    """
    fraction(confidence=confidence)
    undefined = np.isnan(values).sum(0)
    usable = 2 * undefined <= len(values)
    kept = np.where(usable, values, 0.0)
    low, high = np.nanquantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Interval(np.where(usable, low, np.nan), np.where(usable, high, np.nan), undefined)


def _counts(
    rows: npt.NDArray[np.intp],
    patient: npt.NDArray[np.intp],
    known: Bools,
    shape: tuple[int, int],
) -> csr_array:
    ones = np.ones(int(known.sum()), np.float32)  # exact up to 16 million entries in one bin
    return csr_array((ones, (rows[known], patient[known])), shape=shape)
