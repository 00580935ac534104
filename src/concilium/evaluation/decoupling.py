"""The decoupled test: the same exams, weighed as if no finding said anything of another.

    w(y) = Π_l p_l(y_l) / p(y),   at most MAX_WEIGHT

y is the label set of an exam, p(y) the share of the exams that have it and p_l(y_l) the share on
which label l is as it is in y, both counted on the test exams themselves: importance weights from
the labels as they are to independent labels with the same prevalences. A model that raises l
because it sees m gains by it where the two go together, and loses it here.

p(y) is counted, in ``LabelSetCounts`` that add up, not taken from the pairwise label model of
``joint``, which summed statistics would give without another question. Both take the correlations
of the 25,596 official NIH test exams (14 labels) from 0.055 (root mean square phi) to below 0.01.
But the model knows pairs alone: on 621 NIH radiographs chosen to hold rare findings it left 0.073
of 0.063, the counts leave 0.034; and it ends at 16 labels. The price is that a server learns how
many exams of all hospitals have each label set, be it one exam, and that sets which no exam has
lose their share of the product, mostly many findings at once. ``covered`` says how much is left:
0.99 on the exams above, 0.12 on yeast (14 labels, 917 exams), which therefore no weights can
decouple.

Exams on which a label is unknown have no label set: they get no weight and are counted. The cap
lets no exam count for more than ten: it touches 5 of the NIH exams (at most 11.2), and where nine
of ten exams have both of two labels or neither, it raises the effective number of 2,000 from 250
to 338 and leaves 0.101 instead of 0.096 of a phi of 0.34.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.evaluation.entries import checked_entries
from concilium.evaluation.histograms import (
    Bools,
    Counts,
    Floats,
    bin_of,
    divide,
    label_histogram_of,
)
from concilium.foundation.errors import InputError

MAX_WEIGHT = 10.0
ROUNDING = 1e-12  # of a variance: below it a label does not vary
GRID = 2.0**20  # steps per unit of a weight: sums of up to 800 million exams are exact


@dataclass(frozen=True)
class LabelSetCounts:
    """How many exams have each set of labels; ``a + b`` counts the exams of both hospitals.

    ``sets`` (S, L) bool, each once and in ascending order; ``counts`` (S,) > 0; ``num_left_out``
    exams on which some label is unknown.
    """

    sets: Bools
    counts: Counts
    num_left_out: int

    @staticmethod
    def of(target: npt.ArrayLike, known: npt.ArrayLike) -> LabelSetCounts:
        """Count exams with target (N, L) in [0, 1], present above one half, and known (N, L)."""
        whole = np.asarray(known, np.bool_).all(1)
        present = np.asarray(target, np.float32)[whole] > 0.5
        sets, counts = _summed(present, np.ones(len(present), np.int64))
        return LabelSetCounts(sets, counts, int((~whole).sum()))

    def __add__(self, other: LabelSetCounts) -> LabelSetCounts:
        """Both together. Raises InputError where the numbers of labels differ."""
        if self.sets.shape[1] != other.sets.shape[1]:
            raise InputError("counts of different labels do not add up")
        sets, counts = _summed(
            np.concatenate([self.sets, other.sets]), np.concatenate([self.counts, other.counts])
        )
        return LabelSetCounts(sets, counts, self.num_left_out + other.num_left_out)

    @property
    def num_exams(self) -> int:
        """Exams with a label set."""
        return int(self.counts.sum())

    def weights(self, most: float = MAX_WEIGHT) -> LabelSetWeights:
        """The weight of each label set, at most ``most``: 1 where the labels are independent."""
        prevalence = divide(self.counts @ self.sets, self.num_exams)
        expected = self.num_exams * np.where(self.sets, prevalence, 1 - prevalence).prod(1)
        weight = np.rint(np.minimum(expected / self.counts, most) * GRID) / GRID
        return LabelSetWeights(self.sets, weight)


@dataclass(frozen=True)
class LabelSetWeights:
    """What an exam counts by its label set: ``sets`` (S, L), ascending; ``weight`` (S,) ≥ 0."""

    sets: Bools
    weight: Floats

    def of_exams(self, target: npt.ArrayLike, known: npt.ArrayLike) -> Floats:
        """The weight of each exam (N,): 0 where a label is unknown, or nobody counted its set."""
        whole = np.asarray(known, np.bool_).all(1)
        if not len(self.sets):
            return np.zeros(len(np.asarray(known)))
        counted, own = _keys(self.sets), _keys(np.asarray(target, np.float32) > 0.5)
        place = np.searchsorted(counted, own).clip(max=len(counted) - 1)
        return np.where(whole & (counted[place] == own), self.weight[place], 0.0)


@dataclass(frozen=True)
class DecoupledSums:
    """Weighted counts of exams, exact on a binary grid; ``a + b`` are those of both hospitals.

    ``positives``, ``negatives`` (L, B): weight of known present and known absent entries by score;
    ``false_alerts_beside`` (L, L): weight of exams with an alert for absent l while m is present.
    """

    positives: Floats
    negatives: Floats
    false_alerts_beside: Floats

    @staticmethod
    def of(
        scores: npt.ArrayLike,
        target: npt.ArrayLike,
        known: npt.ArrayLike,
        weights: LabelSetWeights,
        thresholds: Floats,
    ) -> DecoupledSums:
        """Sums of exams, arguments as in ``EvaluationSums.of``; NaN thresholds never alert."""
        patient = np.arange(len(np.asarray(target)))
        scores, target, known, _ = checked_entries(scores, target, known, patient)
        weight = weights.of_exams(target, known)
        counted = weight > 0
        present = (target > 0.5)[counted]
        bins, own = bin_of(scores[counted]), weight[counted, None]
        by_entry: Floats = np.broadcast_to(own, present.shape)
        false_alert = (scores[counted] >= thresholds) & ~present
        return DecoupledSums(
            label_histogram_of(bins, present, by_entry),
            label_histogram_of(bins, ~present, by_entry),
            (own * false_alert).T @ present.astype(np.float64),
        )

    def __add__(self, other: DecoupledSums) -> DecoupledSums:
        """Both together."""
        return DecoupledSums(
            self.positives + other.positives,
            self.negatives + other.negatives,
            self.false_alerts_beside + other.false_alerts_beside,
        )


@dataclass(frozen=True)
class Decoupled:
    """The decoupled test of one model: whose exams, what each counts, and what was found."""

    counts: LabelSetCounts
    weights: LabelSetWeights
    sums: DecoupledSums

    @property
    def num_effective(self) -> float:
        """(Σ w)² / Σ w² of all exams: so many equal ones would say as much; NaN without any."""
        own, number = self.weights.weight, self.counts.counts
        return float(divide((number @ own) ** 2, number @ own**2))

    @property
    def num_capped(self) -> int:
        """Exams that would count for more than ``MAX_WEIGHT``."""
        return int(self.counts.counts[self.counts.weights(np.inf).weight > MAX_WEIGHT].sum())

    @property
    def covered(self) -> float:
        """Share of independent labels' exams whose label set is among those here; NaN without any.

        The mean weight before the cap: 1 where every label set occurs that could.
        """
        own = self.counts.weights(np.inf).weight
        return float(divide(self.counts.counts @ own, self.counts.num_exams))

    @property
    def effective_positives(self) -> Floats:
        """The effective number of exams with each label (L,); NaN where there is none."""
        own, number, member = self.weights.weight, self.counts.counts, self.counts.sets
        return divide(((number * own) @ member) ** 2, (number * own**2) @ member)

    def absent_beside(self, weighed: bool) -> Floats:
        """Exams with m and without l (L, L), row l and column m: their number, or their weight."""
        own, member = self._numbers(weighed), self.counts.sets
        beside: Floats = (own[:, None] * ~member).T @ member.astype(np.float64)
        return beside

    def mean_phi(self, weighed: bool) -> float:
        """Root mean square of phi over pairs of labels that vary, as the exams are or weighed."""
        own, member = self._numbers(weighed), self.counts.sets.astype(np.float64)
        both = (divide(own, own.sum())[:, None] * member).T @ member
        mean = np.diagonal(both)
        variance = mean * (1 - mean)
        spread = np.sqrt(np.where(variance > ROUNDING, variance, np.nan))
        phi = (both - np.outer(mean, mean)) / np.outer(spread, spread)
        pairs = phi[np.triu_indices(len(phi), k=1)]
        defined = pairs[np.isfinite(pairs)]
        return float(np.sqrt(divide((defined**2).sum(), len(defined))))

    def _numbers(self, weighed: bool) -> Floats:
        """Exams with each label set (S,), or their weight."""
        own: Floats = self.counts.counts * (self.weights.weight if weighed else np.float64(1))
        return own

    def histograms(self) -> tuple[Floats, Floats]:
        """Present and absent entries (L, B) with each label's own prevalence.

        Weights keep it but for the label sets that nobody has, and for the cap: so all present
        entries of a label are scaled by one number, and all absent ones, to as many as there are.
        """
        present = self.counts.counts @ self.counts.sets
        numbers: tuple[Any, ...] = (present, self.counts.num_exams - present)
        own = (self.sums.positives, self.sums.negatives)
        positives, negatives = (
            sums * np.nan_to_num(divide(number, sums.sum(1)))[:, None]
            for sums, number in zip(own, numbers, strict=True)
        )
        return positives, negatives


def _summed(sets: Bools, counts: Counts) -> tuple[Bools, Counts]:
    """Label sets (S, L), each once and ascending, and the summed counts (S,) of each."""
    _, first, number = np.unique(_keys(sets), return_index=True, return_inverse=True)
    summed = np.zeros(len(first), np.int64)
    np.add.at(summed, number, counts)
    return sets[first], summed


def _keys(sets: Bools) -> npt.NDArray[np.bytes_]:
    """Label sets (S, L) as bytes (S,) that sort as they do: one column is sorted faster than L."""
    packed = np.packbits(sets, axis=1)
    return packed.view(f"S{packed.shape[1]}").ravel()
