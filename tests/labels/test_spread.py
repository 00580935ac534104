"""Spread between hospitals: the moments by hand, laws of sums, and chance that is no spread."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import pytest

from concilium.labels.spread import Spread

Floats = npt.NDArray[np.float64]


def summed(values: Floats, variances: Floats, weights: Floats) -> Spread:
    """The sums of hospitals that say one row each."""
    each = (Spread.of(*own) for own in zip(values, variances, weights, strict=True))
    return reduce(add, each)


def test_three_hospitals_by_hand() -> None:
    """y = 1, 2, 6 with weights 1, 1, 2 and variances .5, .5, .25.

    ȳ = 15/4; Q = 7.5625 + 3.0625 + 2 · 5.0625 = 20.75; by sampling alone Σ a v − Σ a² v / Σ a =
    1.5 − 2/4 = 1; Σ a − Σ a² / Σ a = 4 − 6/4 = 2.5; so τ² = 19.75/2.5 = 7.9.
    """
    own = summed(
        np.array([[1.0], [2.0], [6.0]]),
        np.array([[0.5], [0.5], [0.25]]),
        np.array([[1.0], [1.0], [2.0]]),
    )
    assert own.mean[0] == pytest.approx(3.75)
    assert own.between[0] == pytest.approx(np.sqrt(7.9))
    # χ² with two degrees of freedom: exp(−x/2), at x = 20.75/1 · 2.
    assert own.chance[0] == pytest.approx(np.exp(-20.75))


def test_the_order_of_hospitals_does_not_matter() -> None:
    generator = np.random.default_rng(0)
    values, variances, weights = generator.random((3, 7, 4))
    straight, turned = (
        summed(values[o], variances[o], weights[o]) for o in (slice(None), slice(None, None, -1))
    )
    for name in vars(straight):
        assert vars(straight)[name] == pytest.approx(vars(turned)[name])


def test_a_hospital_that_says_nothing_changes_nothing() -> None:
    values, rest = np.array([[1.0], [3.0]]), np.ones((2, 1))
    silent = Spread.of(np.array([np.nan]), np.array([np.nan]), np.array([50.0]))
    own, other = summed(values, rest, rest), summed(values, rest, rest) + silent
    assert all(np.array_equal(vars(own)[name], vars(other)[name]) for name in vars(own))


@pytest.mark.parametrize("number", [0, 1])
def test_of_fewer_than_two_hospitals_nothing_is_said(number: int) -> None:
    said = [np.array([2.0])] * number + [np.array([np.nan])] * 2
    own = summed(np.stack(said), np.ones((len(said), 1)), np.ones((len(said), 1)))
    assert np.isnan(own.between[0]) and np.isnan(own.chance[0])
    assert np.isnan(own.mean[0]) == (number == 0)


def test_tau_is_unbiased_whatever_the_weights_and_chance_is_chance() -> None:
    """4,000 federations of 8 unequal hospitals drawn with τ = .3, and as many with τ = 0.

    Without the sampling error taken off, τ² would be about .09 + .11; chance below .05 comes in
    5 % of the federations that are alike.
    """
    generator = np.random.default_rng(1)
    images = np.array([4, 6, 8, 10, 12, 20, 30, 40])[:, None] * np.ones((1, 4000))
    noise = generator.normal(size=images.shape) / np.sqrt(images)
    apart = 0.3 * generator.normal(size=images.shape)

    def squared(own: Spread) -> Floats:  # τ² before it is cut off at 0
        return own.between**2

    unequal, alike = (summed(y, 1 / images, images) for y in (noise + apart, noise))
    assert 0.085 < squared(unequal).mean() < 0.10  # the cut adds a little to .09
    assert squared(alike).mean() < 0.02
    assert 0.04 < (alike.chance < 0.05).mean() < 0.06
    assert (unequal.chance < 0.05).mean() > 0.5
