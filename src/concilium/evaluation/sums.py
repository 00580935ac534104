"""Evaluation as sums: what one hospital counts, and what adds up to the whole federation.

A hospital scores its own exams and sends histograms and counts, never the score of one exam. All
sums are exact: counts are integers, and each real number that is added is first rounded to a
binary grid on which sums of up to some two million exams lose nothing. So ``a + b`` IS the pooled
evaluation, bit for bit and in any order, and the sums can travel under a fixed-point secure sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from concilium.evaluation.alerts import AlertSums, LabelSets
from concilium.evaluation.entries import checked_entries, checked_label_sets, checked_thresholds
from concilium.evaluation.histograms import (
    NUM_BINS,
    Counts,
    Floats,
    bin_of,
    label_histogram,
    label_histogram_of,
)
from concilium.evaluation.records import evaluation_arrays, evaluation_fields
from concilium.labels.statistics import LabelStatistics

GRID = 2.0**30  # steps per unit: with 53 bits, sums below 2^23 (8 million) are exact
PAIR_GRID = 2.0**16  # of p; p_l p_m lies on a grid of 2^-32, sums below 2^21 are exact


@dataclass(frozen=True)
class EvaluationSums:
    """Counts over exams; ``a + b`` are the sums of both hospitals together, exactly.

    Fields, with L labels and B = NUM_BINS score bins even in logit space. A soft target counts as
    present above one half, except in the two losses:
    ``statistics``: label statistics of the exams;
    ``positives``, ``negatives`` (L, B): known present and known absent entries by score;
    ``probability`` (L, B): sum of probabilities of known entries by score (reliability);
    ``squared_error`` (L,): Σ (p − y)² over known entries;
    ``log_loss`` (L,): Σ −y log p − (1 − y) log(1 − p) over known entries, in nats;
    ``predicted_and_known`` (L, L): Σ p_l over exams on which l and m are known;
    ``predicted_pairs`` (L, L): Σ p_l p_m over exams on which both are known (diagonal: Σ p_l), the
    joint under a model whose labels are independent GIVEN the image;
    ``alerts``: what happens at given thresholds.
    """

    statistics: LabelStatistics
    positives: Counts
    negatives: Counts
    probability: Floats
    squared_error: Floats
    log_loss: Floats
    predicted_and_known: Floats
    predicted_pairs: Floats
    alerts: AlertSums

    @staticmethod
    def of(
        scores: npt.ArrayLike,
        target: npt.ArrayLike,
        known: npt.ArrayLike,
        patient: npt.ArrayLike,
        thresholds: npt.ArrayLike | None = None,
        label_sets: LabelSets = (),
    ) -> EvaluationSums:
        """Sums of exams: scores (N, L) in logits, target (N, L) in [0, 1], known, patient (N,).

        ``thresholds`` (L,) in logits, NaN where a label has none; None: no alerts are counted, and
        what needs them is NaN. ``label_sets``: label indices, counted where all are present.
        Whatever stands at unknown entries has no influence. Raises InputError with all problems:
        shapes, scores that are not finite, targets outside [0, 1], label indices that do not exist.
        """
        scores, target, known, patient = checked_entries(scores, target, known, patient)
        num_labels = scores.shape[1]
        limits = checked_thresholds(thresholds, num_labels)
        label_sets = checked_label_sets(label_sets, num_labels)
        present = (target > 0.5) & known
        alerts = AlertSums.of(scores >= limits, present, known, limits, label_sets)
        if thresholds is None:
            alerts = AlertSums.zero(limits, label_sets)
        bins, probability = bin_of(scores), expit(scores)
        entropy = np.logaddexp(0, scores) - target * scores
        predicted = np.where(known, _on_grid(probability, PAIR_GRID), 0)
        and_known = predicted.T @ known.astype(np.float64)
        return EvaluationSums(
            statistics=LabelStatistics.of(target.astype(np.float32), known, patient),
            positives=label_histogram(bins, present),
            negatives=label_histogram(bins, known & ~present),
            probability=label_histogram_of(bins, known, _on_grid(probability)),
            squared_error=_total(np.square(probability - target), known),
            log_loss=_total(entropy, known),
            predicted_and_known=and_known,
            predicted_pairs=_with_diagonal(predicted.T @ predicted, np.diagonal(and_known)),
            alerts=alerts,
        )

    @staticmethod
    def zero(
        num_labels: int, thresholds: npt.ArrayLike | None = None, label_sets: LabelSets = ()
    ) -> EvaluationSums:
        """The neutral element of ``+`` for sums at these thresholds and label sets."""
        nobody = np.zeros((0, num_labels))
        return EvaluationSums.of(nobody, nobody, nobody > 0, [], thresholds, label_sets)

    def __add__(self, other: EvaluationSums) -> EvaluationSums:
        """Both together. Raises InputError where thresholds or label sets differ."""
        return EvaluationSums(
            self.statistics + other.statistics,
            self.positives + other.positives,
            self.negatives + other.negatives,
            self.probability + other.probability,
            self.squared_error + other.squared_error,
            self.log_loss + other.log_loss,
            self.predicted_and_known + other.predicted_and_known,
            self.predicted_pairs + other.predicted_pairs,
            self.alerts + other.alerts,
        )

    @property
    def num_labels(self) -> int:
        """L."""
        return len(self.positives)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Flat names → arrays, for npz files and messages; ``from_arrays`` reads them."""
        return evaluation_arrays(self)

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.ArrayLike]) -> EvaluationSums:
        """The sums from ``to_arrays``. Raises InputError for names or shapes that do not fit."""
        own, statistics, alerts = evaluation_fields(arrays, NUM_BINS)
        return EvaluationSums(
            statistics=LabelStatistics(**statistics), alerts=AlertSums(**alerts), **own
        )


def _on_grid(values: Floats, grid: float = GRID) -> Floats:
    return np.rint(values * grid) / grid


def _total(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    total: Floats = np.where(known, _on_grid(values), 0.0).sum(0)
    return total


def _with_diagonal(matrix: Floats, diagonal: Floats) -> Floats:
    changed = matrix.copy()
    np.fill_diagonal(changed, diagonal)
    return changed
