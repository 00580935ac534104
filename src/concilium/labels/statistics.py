"""Label statistics that add up over hospitals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelStatistics:
    """Counts of one hospital, or, after ``+``, of several.

    ``num_images`` and ``num_patients`` count exams and patients; ``both_known[l, m]`` (L, L) counts
    images on which labels l and m are both known; ``both_present[l, m]`` (L, L) those on which both
    are known and present. The diagonals are the known counts and the positives. A soft target
    counts as present above one half.

    ``present_and_known[l, m]`` (L, L) counts images on which l is present and m is known: without
    it, what a hospital that does not annotate m says of l would enter P(m | l) and phi as if m were
    absent there. Where every label is known, each of its rows repeats the positives.
    """

    num_images: int
    num_patients: int
    both_known: Counts
    both_present: Counts
    present_and_known: Counts

    @staticmethod
    def of(
        target: npt.NDArray[np.float32],
        known: npt.NDArray[np.bool_],
        patient: npt.NDArray[np.int64],
    ) -> LabelStatistics:
        """Statistics of images with target (N, L) in [0, 1], known (N, L) and patient (N,)."""
        mask = known.astype(np.float64)
        present = ((target > 0.5) & known).astype(np.float64)
        return LabelStatistics(
            num_images=len(target),
            num_patients=len(np.unique(patient)),
            both_known=np.rint(mask.T @ mask).astype(np.int64),
            both_present=np.rint(present.T @ present).astype(np.int64),
            present_and_known=np.rint(present.T @ mask).astype(np.int64),
        )

    @staticmethod
    def zero(num_labels: int) -> LabelStatistics:
        """The neutral element of ``+``."""
        nothing = np.zeros((num_labels, num_labels), np.int64)
        return LabelStatistics(0, 0, nothing, nothing, nothing)

    def __add__(self, other: LabelStatistics) -> LabelStatistics:
        """Statistics of both together (patients are assumed to differ between hospitals)."""
        return LabelStatistics(
            self.num_images + other.num_images,
            self.num_patients + other.num_patients,
            self.both_known + other.both_known,
            self.both_present + other.both_present,
            self.present_and_known + other.present_and_known,
        )

    def num_bytes(self) -> int:
        """Bytes of all counts, as they travel."""
        matrices = (self.both_known, self.both_present, self.present_and_known)
        return 8 * 2 + sum(counts.nbytes for counts in matrices)

    @property
    def known(self) -> Counts:
        """Images on which each label is known (L,)."""
        return np.diagonal(self.both_known).copy()

    @property
    def positives(self) -> Counts:
        """Known images on which each label is present (L,)."""
        return np.diagonal(self.both_present).copy()

    @property
    def negatives(self) -> Counts:
        """Known images on which each label is absent (L,)."""
        return self.known - self.positives

    @property
    def prevalence(self) -> npt.NDArray[np.float64]:
        """Positives among known (L,); NaN where nothing is known."""
        with np.errstate(invalid="ignore"):
            return self.positives / self.known
