"""AUROC and average precision from exact ranks, for exams whose scores stand in one place.

Of a federation, histograms of fixed bins are the most that can be added up. Where all scores stand
in one place (a simulation, one hospital's own exams), bins can be fitted to them without any loss:
both measures ask only how many absent entries stand above, at and below each PRESENT entry. So a
label's bins are the distinct scores of its present entries and the gaps between them, which hold
absent entries alone, in whatever order. On these bins ``area_under_roc`` and ``mean_precision`` are
exact, ties included: they equal scikit-learn's ``roc_auc_score`` and ``average_precision_score``.

Scores are sorted once. A bootstrap replicate, or any other weighting of the patients, is the counts
by bin and patient times the weights, then a cumulative sum over bins: nothing is sorted again.

    ranks = ExactRanks.of(scores, target, known, patient)
    auroc, precision = ranks.values(weights, (area_under_roc, mean_precision))  # (R, L) each
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from concilium.evaluation.bootstrap import Statistic
from concilium.evaluation.entries import checked_entries
from concilium.evaluation.histograms import Bools, Floats
from concilium.foundation.errors import InputError


@dataclass(frozen=True)
class ExactRanks:
    """Exams in the order of their scores: a label's entries by (absent, present) bin × patient.

    ``by_label``: L sparse arrays (2 B, P) with B = 2 G + 1 bins by ascending score, G the distinct
    scores of a label's present entries; patients in the order of their sorted numbers.
    """

    num_patients: int
    by_label: tuple[csr_array, ...]

    @staticmethod
    def of(
        scores: npt.ArrayLike, target: npt.ArrayLike, known: npt.ArrayLike, patient: npt.ArrayLike
    ) -> ExactRanks:
        """Ranks of exams; arguments and errors as in ``EvaluationSums.of`` (±inf is an error)."""
        scores, target, known, patient = checked_entries(scores, target, known, patient)
        numbers, index = np.unique(patient, return_inverse=True)
        present = target > 0.5
        by_label = tuple(
            _counts(scores[own, label], present[own, label], index[own], len(numbers))
            for label, own in enumerate(known.T)
        )
        return ExactRanks(len(numbers), by_label)

    def values(self, weights: npt.ArrayLike, statistics: Sequence[Statistic]) -> Floats:
        """Statistics of each replicate (S, R, L) under patients' weights (P, R) ≥ 0.

        Such are ``area_under_roc`` and ``mean_precision`` of the metrics; where they are undefined
        (no weight on present entries, or none on absent ones) they are NaN. Raises InputError for
        weights of another number of patients, or that are negative or not finite.
        """
        own = np.asarray(weights, np.float64)
        if own.ndim != 2 or len(own) != self.num_patients:
            raise InputError(f"weights of shape {own.shape} are not ({self.num_patients}, R)")
        if not (np.isfinite(own) & (own >= 0)).all():
            raise InputError("weights of patients must be finite and >= 0")
        found = np.empty((len(statistics), own.shape[1], len(self.by_label)))
        for label, counts in enumerate(self.by_label):
            halves = (counts @ own).reshape(2, -1, own.shape[1])
            negatives, positives = np.ascontiguousarray(halves.transpose(0, 2, 1))
            for row, statistic in enumerate(statistics):
                found[row, :, label] = statistic(positives, negatives)
        return found

    def point(self, statistics: Sequence[Statistic]) -> Floats:
        """Statistics (S, L) of the exams themselves: every patient counts once."""
        return self.values(np.ones((self.num_patients, 1)), statistics)[:, 0]


def _counts(scores: Floats, present: Bools, patient: npt.NDArray[np.intp], num: int) -> csr_array:
    """One label's entries by bin and patient; odd bins are scores of present entries, even gaps."""
    levels = np.unique(scores[present])
    bins = np.searchsorted(levels, scores, "left") + np.searchsorted(levels, scores, "right")
    num_bins = 2 * len(levels) + 1
    cells = bins + num_bins * present
    return csr_array((np.ones(len(cells)), (cells, patient)), shape=(2 * num_bins, num))
