"""What a split is like, in numbers that add up over hospitals: nobody's own counts are looked at.

Squares of counts say how concentrated they are: (Σ n)² / Σ n² is K where K hospitals hold equally
much, and 1 where one holds all (the effective number; Hill: "Diversity and Evenness", Ecology 1973,
order 2; not seen, the formula is common). Prevalence and coupling are compared by
``labels/spread.py``: how far hospitals are from each other beyond what so few PATIENTS make of
hospitals that are alike, for images of one patient resemble each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.labels.spread import Spread
from concilium.labels.statistics import LabelStatistics

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

ENOUGH = 10
"""Patients with a label that make a holder of a hospital: fewer are a small cell.

A hospital says nothing of a coupling either of whose labels is present, or absent, at fewer.
"""
ENOUGH_TO_COMPARE = 30
"""Patients below whom a hospital says nothing of a prevalence: their variance is a guess.

Measured by dealing the patients of 25,596 NIH exams out at random: among 100 hospitals of 17
patients each, ten of 14 labels seemed to differ between hospitals, among 20 of 84 none did.
"""


@dataclass(frozen=True)
class SplitProfile:
    """Exams of one hospital, or, after ``+``, of several.

    ``hospitals`` with any exam; ``statistics`` are their label statistics; ``images_squared`` Σ_k
    n_k² and ``positives_squared`` (L,) Σ_k n⁺_kl²; ``annotators`` (L,) hospitals that know an entry
    of a label, ``holders`` (L,) those with ``ENOUGH`` patients who have it; ``prevalence`` (L,) and
    ``coupling`` (L, L), phi of two labels with nothing on its diagonal, between hospitals, weighted
    by the images on which the label, or both, are known.
    """

    hospitals: int
    statistics: LabelStatistics
    images_squared: int
    positives_squared: Counts
    annotators: Counts
    holders: Counts
    prevalence: Spread
    coupling: Spread

    @staticmethod
    def of(
        target: npt.NDArray[np.float32],
        known: npt.NDArray[np.bool_],
        patient: npt.NDArray[np.int64],
    ) -> SplitProfile:
        """The profile of one hospital: target (N, L) in [0, 1], known (N, L) and patient (N,)."""
        own = LabelStatistics.of(target, known, patient)
        exams = _ByPatient.of(target, known, patient)
        return SplitProfile(
            hospitals=int(own.num_images > 0),
            statistics=own,
            images_squared=own.num_images**2,
            positives_squared=own.positives**2,
            annotators=(own.known > 0).astype(np.int64),
            holders=(exams.patients(exams.present) >= ENOUGH).astype(np.int64),
            prevalence=exams.prevalence(),
            coupling=exams.coupling(),
        )

    def __add__(self, other: SplitProfile) -> SplitProfile:
        """The profile of both together."""
        return SplitProfile(*(own + vars(other)[name] for name, own in vars(self).items()))

    @property
    def effective_hospitals(self) -> float:
        """(Σ n_k)² / Σ n_k²: hospitals of one size that are as concentrated; NaN without exams."""
        if not self.images_squared:
            return float("nan")
        return self.statistics.num_images**2 / self.images_squared

    @property
    def effective_holders(self) -> Floats:
        """The same of each label's positives (L,); NaN where there are none."""
        positives = self.statistics.positives.astype(np.float64)
        with np.errstate(invalid="ignore"):
            return positives**2 / self.positives_squared

    @property
    def prevalence_spread(self) -> Floats:
        """How far hospitals' prevalences are apart, in log-odds to first order (L,): τ / p(1 − p).

        NaN where fewer than two hospitals say anything, or the label never varies.
        """
        mean = self.prevalence.mean
        variance = mean * (1 - mean)
        return self.prevalence.between / np.where(variance > 0, variance, np.nan)


@dataclass(frozen=True)
class _ByPatient:
    """Labels (N, L), 0 or 1, images of a patient side by side; ``starts`` (P,) are the first."""

    present: Floats
    known: Floats
    starts: npt.NDArray[np.intp]

    @staticmethod
    def of(
        target: npt.NDArray[np.float32],
        known: npt.NDArray[np.bool_],
        patient: npt.NDArray[np.int64],
    ) -> _ByPatient:
        order = np.argsort(patient, kind="stable")
        starts = np.unique(patient[order], return_index=True)[1]
        mask = known[order].astype(np.float64)
        return _ByPatient((target[order] > 0.5) * mask, mask, starts)

    def prevalence(self) -> Spread:
        """n⁺/n of each label (L,), weighted by n.

        Not its log-odds: those of rare labels need smoothing, which by itself sets small hospitals
        apart from large ones.
        """
        images = self.known.sum(0)
        value = self.present.sum(0) / np.maximum(1.0, images)
        variance = self._variance(self.known * (self.present - value), images)
        said = self.patients(self.known) >= ENOUGH_TO_COMPARE
        return Spread.of(np.where(said, value, np.nan), variance, images)

    def coupling(self) -> Spread:
        """Phi of every two labels (L, L), weighted by the images on which both are known."""
        rows = [self._coupling_of(label) for label in range(self.known.shape[1])]
        return Spread.of(*map(np.stack, zip(*rows, strict=True)))

    def _coupling_of(self, label: int) -> tuple[Floats, Floats, Floats]:
        """Phi of one label with each, its sampling variance, and the images of both (L,).

        By the delta method: an image adds u v − φ (u² + v²) / 2, where u and v are the standardised
        values of the two labels on it. Where every patient is seen once, the variance is 1/n for
        independent labels, and much more for rare ones that go together.
        """
        both = self.known[:, [label]] * self.known
        images = both.sum(0)
        u, first_varies = self._standardised(self.present[:, [label]] * both, both)
        v, second_varies = self._standardised(self.present * both, both)
        value = (u * v).sum(0) / np.maximum(1.0, images)
        variance = self._variance(u * v - value * (u * u + v * v) / 2, images)
        said = first_varies & second_varies
        said[label] = False
        return np.where(said, value, np.nan), variance, images

    def _standardised(self, present: Floats, known: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Values of labels (N, M) with mean 0 and variance 1 where known, 0 elsewhere.

        With whether each (M,) varies enough for that to mean anything.
        """
        frequency = present.sum(0) / np.maximum(1.0, known.sum(0))
        deviation = np.sqrt(frequency * (1 - frequency))
        values = known * (present - frequency) / np.where(deviation > 0, deviation, 1.0)
        least = np.minimum(self.patients(present), self.patients(known - present))
        return values, least >= ENOUGH

    def _variance(self, influence: Floats, images: Floats) -> Floats:
        """The sampling variance (M,) of a mean over ``images`` (M,), by what each image adds to it.

        ``influence`` (N, M) is 0 on other images and has mean 0. Patients are drawn independently,
        their images are not: Σ_p (Σ_{i of p} ψ_i)² / n², times P / (P − 1).
        """
        number = len(self.starts)
        squares = (self._sums(influence) ** 2).sum(0)
        found: Floats = squares * (number / max(1, number - 1)) / np.maximum(1.0, images) ** 2
        return found

    def patients(self, images: Floats) -> Counts:
        """Patients (M,) with at least one of some images, 1 in (N, M)."""
        found: Counts = (self._sums(images) > 0).sum(0)
        return found

    def _sums(self, values: Floats) -> Floats:
        """The sum over the images of each patient (P, M)."""
        return np.add.reduceat(values, self.starts, axis=0) if len(self.starts) else values
