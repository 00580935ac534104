"""Confidence intervals by a bootstrap over PATIENTS whose replicates add up over hospitals.

James Hanley and Brenda MacGibbon, Creating non-parametric bootstrap samples using Poisson
frequencies, Computer Methods and Programs in Biomedicine 2006; Nicholas Chamandy, Omkar
Muralidharan, Amir Najmi and Siddartha Naidu, Estimating uncertainty for massive data streams,
Google technical report 2012: in each replicate every patient counts Poisson(1) times. The weights
of different patients are independent, so each hospital draws its own, and the replicate histograms
of all hospitals add up to those of the federation. Nothing is sorted again: the histograms of a
replicate are (bins × patients) counts times the patients' weights.

    seed = derive_seed(root, "bootstrap", client)                      # each client has its own
    sums = replicate_sums(scores, target, known, patient, 1000, seed)  # at each client
    values = (sums_a + sums_b).values(mean_precision)                  # (R, L)
    low, high, num_undefined = interval(values)                        # (L,) each
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
from concilium.foundation.errors import InputError
from concilium.foundation.seeds import numpy_generator

Weights = npt.NDArray[np.float32]
ReplicateCounts = npt.NDArray[np.int32]
Statistic = Callable[[ReplicateCounts, ReplicateCounts], Floats]

BLOCK = 50  # replicates at a time: weights and histograms of a block stay in the processor's cache


@dataclass(frozen=True)
class BootstrapSums:
    """Score histograms of replicates, of present and of absent entries (R, L, B)."""

    positives: ReplicateCounts
    negatives: ReplicateCounts

    def __add__(self, other: BootstrapSums) -> BootstrapSums:
        """Both hospitals together, replicate by replicate. Raises InputError for other shapes."""
        if self.positives.shape != other.positives.shape:
            raise InputError(
                f"replicates of shape {self.positives.shape} and {other.positives.shape} "
                "do not add up: ask all clients for the same number"
            )
        return BootstrapSums(self.positives + other.positives, self.negatives + other.negatives)

    def values(self, statistic: Statistic) -> Floats:
        """A statistic of each replicate (R, L): it maps histograms (…, B), twice, to (…).

        Such are ``area_under_roc`` and ``mean_precision`` of the metrics.
        """
        return replicate_values(self._blocks(), statistic)

    def _blocks(self) -> Iterator[BootstrapSums]:
        for first in range(0, len(self.positives), BLOCK):
            block = slice(first, first + BLOCK)
            yield BootstrapSums(self.positives[block], self.negatives[block])


@dataclass(frozen=True)
class PatientHistograms:
    """What stays at a hospital: for each label, entries by (absent bins, present bins) × patient.

    ``by_label``: L sparse arrays (2 B, P); patients in the order of their sorted numbers, so the
    order of the exams does not matter.
    """

    num_patients: int
    by_label: tuple[csr_array, ...]

    @staticmethod
    def of(
        scores: npt.ArrayLike, target: npt.ArrayLike, known: npt.ArrayLike, patient: npt.ArrayLike
    ) -> PatientHistograms:
        """Counts of a hospital's exams; arguments and errors as in ``EvaluationSums.of``."""
        scores, target, known, patient = checked_entries(scores, target, known, patient)
        numbers, index = np.unique(patient, return_inverse=True)
        rows = bin_of(scores) + NUM_BINS * (target > 0.5)
        shape = (2 * NUM_BINS, len(numbers))
        labels = range(rows.shape[1])
        by_label = (_counts(rows[:, label], index, known[:, label], shape) for label in labels)
        return PatientHistograms(len(numbers), tuple(by_label))

    def resampled(self, weights: Weights) -> BootstrapSums:
        """Histograms of replicates under patients' weights (P, R): counts × weights, exactly."""
        halves = np.empty((2, weights.shape[1], len(self.by_label), NUM_BINS), np.int32)
        for label, counts in enumerate(self.by_label):
            both = (counts @ weights).reshape(2, NUM_BINS, -1)
            halves[:, :, label] = both.transpose(0, 2, 1)
        return BootstrapSums(positives=halves[1], negatives=halves[0])

    def blocks(
        self, num_replicates: int, seed: int, resampling: str = "poisson"
    ) -> Iterator[BootstrapSums]:
        """Replicates in blocks of at most ``BLOCK``: memory does not grow with their number."""
        at_least(1, num_replicates=num_replicates)
        for first in range(0, num_replicates, BLOCK):
            replicates = range(first, min(first + BLOCK, num_replicates))
            yield self.resampled(patient_weights(self.num_patients, replicates, seed, resampling))


class Interval(NamedTuple):
    """Percentile interval (…) over replicates, and how many of them were undefined."""

    low: Floats
    high: Floats
    num_undefined: npt.NDArray[np.int64]


def replicate_sums(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    known: npt.ArrayLike,
    patient: npt.ArrayLike,
    num_replicates: int,
    seed: int,
    resampling: str = "poisson",
) -> BootstrapSums:
    """All replicates of one client at once, to be sent: 8 B L R bytes (1,000 × 14: 115 MB).

    ``seed`` is the client's own; arguments and errors otherwise as in ``EvaluationSums.of``.
    """
    histograms = PatientHistograms.of(scores, target, known, patient)
    blocks = list(histograms.blocks(num_replicates, seed, resampling))
    return BootstrapSums(
        np.concatenate([block.positives for block in blocks]),
        np.concatenate([block.negatives for block in blocks]),
    )


def patient_weights(
    num_patients: int, replicates: range, seed: int, resampling: str = "poisson"
) -> Weights:
    """How often each patient counts in each replicate (P, R); each replicate has its own seed.

    ``resampling``: ``poisson`` (independent weights: adds up over hospitals) or ``multinomial``
    (exactly as many patients as there are, with replacement: for exams that are in one place).
    """
    one_of(("poisson", "multinomial"), resampling=resampling)
    weights = np.empty((num_patients, len(replicates)), np.float32)
    for column, replicate in enumerate(replicates):
        generator = numpy_generator(seed, "replicate", replicate)
        if resampling == "poisson":
            weights[:, column] = generator.poisson(1.0, num_patients)
        else:
            drawn = generator.integers(max(num_patients, 1), size=num_patients)
            weights[:, column] = np.bincount(drawn, minlength=num_patients)
    return weights


def replicate_values(blocks: Iterable[BootstrapSums], statistic: Statistic) -> Floats:
    """A statistic of each replicate (R, L), block by block."""
    return np.concatenate([statistic(block.positives, block.negatives) for block in blocks])


def interval(values: Floats, confidence: float = 0.95) -> Interval:
    """Percentile interval over replicates (R, …); those that are NaN are left out and counted.

    NaN where more than half of the replicates are undefined: an interval of the lucky ones would
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
