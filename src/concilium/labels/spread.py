"""How much a number differs between hospitals beyond chance, from sums over hospitals alone.

Hospital k says y_k, a number with sampling variance v_k, and weighs a_k. Of Q = Σ a_k (y_k − ȳ)²
sampling alone would give Σ a_k v_k − Σ a_k² v_k / Σ a_k; what is more is the variance between
hospitals, the general method of moments for a random-effects model:

    τ² = (Q − [Σ a v − Σ a² v / Σ a]) / (Σ a − Σ a² / Σ a).

DerSimonian, Kacker: "Random-effects model for meta-analysis of clinical trials: an update",
Contemporary Clinical Trials 2007 (its abstract was seen, not its equations; the expectation of Q
above is two lines of algebra, and the tests check it against hospitals drawn at random). Weights
that follow from y_k itself, as the inverse of its variance does, would bias τ² where counts are
small, so they are numbers of images here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """Sums of one or several numbers, arrays of one shape; of one hospital, or after ``+`` several.

    ``hospitals`` that say anything; ``weight`` Σ a, ``weight_squared`` Σ a², ``first`` Σ a y,
    ``second`` Σ a y², ``noise`` Σ a v and ``noise_squared`` Σ a² v.
    """

    hospitals: Counts
    weight: Floats
    weight_squared: Floats
    first: Floats
    second: Floats
    noise: Floats
    noise_squared: Floats

    @staticmethod
    def of(value: Floats, variance: Floats, weight: Floats) -> Spread:
        """What one hospital says: y, v and a of one shape. Where y is NaN it says nothing."""
        said = np.isfinite(value)
        y, v, a = (np.where(said, own, 0.0) for own in (value, variance, weight))
        return Spread(said.astype(np.int64), a, a * a, a * y, a * y * y, a * v, a * a * v)

    def __add__(self, other: Spread) -> Spread:
        """The sums of both together."""
        return Spread(*(own + vars(other)[name] for name, own in vars(self).items()))

    @property
    def mean(self) -> Floats:
        """The weighted mean ȳ; NaN where no hospital says anything."""
        return _divide(self.first, self.weight)

    @property
    def between(self) -> Floats:
        """τ, the standard deviation between hospitals; 0 where they differ by no more than chance.

        NaN where fewer than two hospitals say anything.
        """
        found, alone = self._differences
        freedom = self.weight - _divide(self.weight_squared, self.weight)
        variance = _divide(found - alone, np.where(self.hospitals > 1, freedom, 0.0))
        return np.sqrt(np.maximum(variance, 0.0))

    @property
    def chance(self) -> Floats:
        """How probable so much difference is among hospitals that are alike, about (by χ²).

        NaN where fewer than two hospitals say anything, or sampling cannot move what they say.
        """
        found, alone = self._differences
        freedom = np.where(self.hospitals > 1, self.hospitals - 1, np.nan)
        return np.asarray(chdtrc(freedom, _divide(found, alone) * freedom))

    @property
    def _differences(self) -> tuple[Floats, Floats]:
        """Q as it is found, and as sampling alone would make it."""
        found = self.second - _divide(self.first * self.first, self.weight)
        alone = self.noise - _divide(self.noise_squared, self.weight)
        return np.maximum(found, 0.0), np.maximum(alone, 0.0)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
