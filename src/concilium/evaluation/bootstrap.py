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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from concilium.evaluation.entries import checked_entries
from concilium.evaluation.histograms import NUM_BINS, Floats, bin_of
from concilium.foundation.checks import at_least, fraction, one_of
from concilium.foundation.errors import InputError
from concilium.foundation.seeds import numpy_generator

Weights = npt.NDArray[np.float32]
ReplicateCounts = npt.NDArray[np.int32]
Cells = npt.NDArray[np.intp]
Statistic = Callable[[npt.NDArray[Any], npt.NDArray[Any]], Floats]
"""Of histograms (…, B) by ascending score, of present and of absent entries, to (…)."""

BLOCK = 50  # replicates at a time: weights and histograms of a block stay in the processor's cache


@dataclass(frozen=True)
class BootstrapSums:
    """Score histograms of R replicates, of which only the filled cells are kept.

    A cell is a bin of the absent or of the present entries of a label; 200 exams fill one in twenty
    of them. ``cells`` (K,): the filled ones, ascending, as places in an array (2, L, B) of absent,
    then present; ``counts`` (K, R): their entries in each replicate.
    """

    num_labels: int
    cells: Cells
    counts: ReplicateCounts

    def __add__(self, other: BootstrapSums) -> BootstrapSums:
        """Both hospitals together, replicate by replicate. Raises InputError for other shapes."""
        shape, others = ((one.num_labels, one.num_replicates) for one in (self, other))
        if shape != others:
            raise InputError(
                f"sums of {shape} and {others} (labels, replicates) do not add up: "
                "ask all clients for the same number"
            )
        cells = np.union1d(self.cells, other.cells)
        counts = np.zeros((len(cells), self.num_replicates), np.int32)
        for one in (self, other):
            counts[np.searchsorted(cells, one.cells)] += one.counts
        return BootstrapSums(self.num_labels, cells, counts)

    @property
    def num_replicates(self) -> int:
        """R."""
        return int(self.counts.shape[1])

    @property
    def positives(self) -> ReplicateCounts:
        """Present entries (R, L, B) by ascending score."""
        return self.histograms()[0]

    @property
    def negatives(self) -> ReplicateCounts:
        """Absent entries (R, L, B) by ascending score."""
        return self.histograms()[1]

    def histograms(self) -> tuple[ReplicateCounts, ReplicateCounts]:
        """Present and absent entries (R, L, B) by ascending score, every cell of them."""
        shape = 2, self.num_labels, NUM_BINS
        whole = np.zeros((2, self.num_replicates, *shape[1:]), np.int32)
        half, label, bin_ = np.unravel_index(self.cells, shape)
        whole[half, :, label, bin_] = self.counts
        return whole[1], whole[0]

    def values(self, statistic: Statistic) -> Floats:
        """A statistic of each replicate (R, L): it maps histograms (…, B), twice, to (…).

        Such are ``area_under_roc`` and ``mean_precision`` of the metrics.
        """
        return replicate_values(self._blocks(), statistic)

    def _blocks(self) -> Iterator[BootstrapSums]:
        for block in blocks_of(self.num_replicates):
            counts = self.counts[:, block.start : block.stop]
            yield BootstrapSums(self.num_labels, self.cells, counts)


@dataclass(frozen=True)
class PatientHistograms:
    """What stays at a hospital: entries by cell × patient.

    ``cells`` (K,) as in ``BootstrapSums``; ``counts`` (K, P) sparse, patients in the order of their
    sorted numbers, so the order of the exams does not matter.
    """

    num_labels: int
    cells: Cells
    counts: csr_array

    @staticmethod
    def of(
        scores: npt.ArrayLike, target: npt.ArrayLike, known: npt.ArrayLike, patient: npt.ArrayLike
    ) -> PatientHistograms:
        """Counts of a hospital's exams; arguments and errors as in ``EvaluationSums.of``."""
        scores, target, known, patient = checked_entries(scores, target, known, patient)
        numbers, index = np.unique(patient, return_inverse=True)
        exam, label = np.nonzero(known)
        shape = 2, scores.shape[1], NUM_BINS
        places = (target > 0.5)[known].astype(np.intp), label, bin_of(scores)[known]
        cells, row = np.unique(np.ravel_multi_index(places, shape), return_inverse=True)
        ones = np.ones(len(row), np.float32)  # exact up to 16 million entries in one cell
        counts = csr_array((ones, (row, index[exam])), shape=(len(cells), len(numbers)))
        return PatientHistograms(shape[1], cells, counts)

    @property
    def num_patients(self) -> int:
        """P."""
        return int(self.counts.shape[1])

    def resampled(self, weights: Weights) -> BootstrapSums:
        """Histograms of replicates under patients' weights (P, R): counts × weights, exactly."""
        counts = (self.counts @ weights).astype(np.int32)
        return BootstrapSums(self.num_labels, self.cells, counts)

    def blocks(
        self, num_replicates: int, seed: int, resampling: str = "poisson"
    ) -> Iterator[BootstrapSums]:
        """Replicates in blocks of at most ``BLOCK``: memory does not grow with their number."""
        for replicates in blocks_of(num_replicates):
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
    """All replicates of one client at once, to be sent: 4 R bytes a filled cell.

    1,000 replicates of 200 exams with 14 labels are some 6 MB, of very many exams 115 MB at most.
    ``seed`` is the client's own; arguments and errors otherwise as in ``EvaluationSums.of``.
    """
    histograms = PatientHistograms.of(scores, target, known, patient)
    blocks = histograms.blocks(num_replicates, seed, resampling)
    counts = np.concatenate([block.counts for block in blocks], axis=1)
    return BootstrapSums(histograms.num_labels, histograms.cells, counts)


def blocks_of(num_replicates: int) -> Iterator[range]:
    """The replicates in blocks of at most ``BLOCK``. Raises InputError below one replicate."""
    at_least(1, num_replicates=num_replicates)
    for first in range(0, num_replicates, BLOCK):
        yield range(first, min(first + BLOCK, num_replicates))


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
    return np.concatenate([statistic(*block.histograms()) for block in blocks])


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
