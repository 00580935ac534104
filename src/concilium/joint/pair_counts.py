"""What label statistics say of each label and of each two: the moments that a prior is fitted to.

A label is counted where it is known, a pair where BOTH are. Their supports differ under partial
annotation, so the four counts of a pair need not agree with the prevalences. Each pair's table is
therefore fitted to the prevalences with its odds ratio kept, as iterative proportional fitting does
it: Deming, Stephan: "On a Least Squares Adjustment of a Sampled Frequency Table When the Expected
Marginal Totals are Known", Annals of Mathematical Statistics 1940. A 2×2 table needs no iteration:
the fitted probability is the root of a quadratic (Plackett, "A Class of Bivariate Distributions",
JASA 1965). Where every label is known, it is the plain frequency. (Neither paper
was seen, only that the procedure keeps cross ratios, as textbooks say; the quadratic is tested
against it.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from concilium.labels.statistics import LabelStatistics


@dataclass(frozen=True)
class PairCounts:
    """Counts (L, L) of ``LabelStatistics`` in float64, not necessarily whole."""

    both_known: Tensor
    both_present: Tensor
    present_and_known: Tensor

    @staticmethod
    def of(statistics: LabelStatistics) -> PairCounts:
        """The counts of label statistics."""
        fields = (statistics.both_known, statistics.both_present, statistics.present_and_known)
        return PairCounts(*(torch.from_numpy(counts.astype(np.float64)) for counts in fields))

    def __add__(self, other: PairCounts) -> PairCounts:
        """The counts of both together."""
        return PairCounts(
            self.both_known + other.both_known,
            self.both_present + other.both_present,
            self.present_and_known + other.present_and_known,
        )

    def worth(self, exams: float) -> PairCounts:
        """The same frequencies as if from this many exams, every label known; 0 where unknown."""
        scale = torch.where(self.both_known > 0, exams / self.both_known, 0.0)
        return PairCounts(
            self.both_known * scale, self.both_present * scale, self.present_and_known * scale
        )

    @property
    def log_odds(self) -> Tensor:
        """Log-odds of each label (L,), a count of 0 taken for one half.

        0 where nothing is known: a log-odds that says nothing, and that no image will be asked of.
        """
        present = self.both_present.diagonal()
        absent = self.both_known.diagonal() - present
        odds = torch.where(present > 0, present, 0.5) / torch.where(absent > 0, absent, 0.5)
        return odds.log()

    @property
    def _cross_products(self) -> tuple[Tensor, Tensor]:
        """n₁₁ n₀₀ and n₁₀ n₀₁ (L, L): their quotient is the odds ratio of a pair."""
        first, both = self.present_and_known, self.both_present
        neither = self.both_known - first - first.T + both
        return both * neither, (first - both) * (first - both).T

    @property
    def informative(self) -> Tensor:
        """Whether both labels of a pair (L, L) vary where both are known: else J is unknown."""
        agree, differ = self._cross_products
        return (agree > 0) | (differ > 0)

    @property
    def pair_probability(self) -> Tensor:
        """P(l and m) (L, L) with the prevalences of all exams and the odds ratio of the pair.

        The product of the prevalences where a pair is not ``informative``; the diagonal means
        nothing.
        """
        own = self.log_odds.sigmoid()
        first, second = own[:, None], own[None, :]
        agree, differ = self._cross_products
        silent = ~self.informative
        agree, differ = agree.masked_fill(silent, 1.0), differ.masked_fill(silent, 1.0)
        # π (1 − p − q + π) · differ = (p − π)(q − π) · agree, solved for π without cancellation.
        product = agree * first * second
        linear = differ * (1 - first - second) + agree * (first + second)
        root = (linear.square() + 4 * (differ - agree) * product).clamp_min(0).sqrt()
        found = torch.where(linear + root > 0, 2 * product / (linear + root), 0.0)
        least = (first + second - 1).clamp_min(0)
        return torch.minimum(torch.maximum(found, least), torch.minimum(first, second))
