"""What each sampling promises: how often a client is asked, and what a cohort's mean aims at."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from concilium.foundation.errors import InputError
from concilium.foundation.seeds import numpy_generator
from concilium.samplings.contract import Sampling, cohort_size
from concilium.samplings.uniform import Uniform
from concilium.samplings.weighted import Weighted, certain, systematic

Floats = np.ndarray


def many_clients(number: int) -> dict[str, int]:
    """Clients of 1 … 5,000 images: most are small, as hospitals are (log-uniform)."""
    generator = np.random.default_rng(number)
    sizes = np.exp(generator.uniform(0, np.log(5000), number)).round().astype(int)
    return {f"c{i:04d}": int(size) for i, size in enumerate(sizes)}


def often_asked(sampling: Sampling, sizes: dict[str, int], share: float, rounds: int) -> Floats:
    count = Counter(
        name
        for round_ in range(rounds)
        for name in sampling.cohort(list(sizes), share, sizes, 3, round_)
    )
    return np.array([count[name] for name in sizes]) / rounds


def capped_probabilities(sizes: list[int], number: int) -> list[Fraction]:
    """min(1, c·n) with the c that makes them add up to the cohort, by trying every capped set."""
    for capped in range(number + 1):
        order = sorted(range(len(sizes)), key=lambda i: -sizes[i])
        rest = sum(sizes[i] for i in order[capped:])
        c = Fraction(number - capped, rest) if rest else Fraction(0)
        if all(c * sizes[i] <= 1 for i in order[capped:]):
            found = [Fraction(1) if i in order[:capped] else c * n for i, n in enumerate(sizes)]
            assert sum(found) == number
            return found
    raise AssertionError


def test_uniform_asks_everybody_alike() -> None:
    sizes = dict.fromkeys((f"c{i:02d}" for i in range(20)), 1)
    found = often_asked(Uniform(), sizes, 0.4, 1000)
    # Binomial(1000, 0.4): mean 400, standard deviation 15.5; five of them are 78.
    assert (np.abs(found - 0.4) < 0.078).all()


def test_uniform_draws_the_cohorts_that_it_always_drew() -> None:
    """The seed's path: a run that began with an earlier version goes on with its own cohorts."""
    clients = [f"c{i}" for i in range(10)]
    chosen = numpy_generator(7, "cohort", 2).choice(10, 4, replace=False)
    expected = tuple(clients[i] for i in sorted(chosen))
    assert Uniform().cohort(clients, 0.4, {}, 7, 2) == expected


@pytest.mark.parametrize(("number", "rounds"), [(200, 1500), (1000, 500)])
def test_weighted_asks_in_proportion_to_size(number: int, rounds: int) -> None:
    sizes = many_clients(number)
    share = 0.02
    found = often_asked(Weighted(), sizes, share, rounds)
    images = np.array(list(sizes.values()))
    expected = images * cohort_size(number, share) / images.sum()
    assert expected.max() < 1  # nobody is capped
    # Of so many binomials the largest is about 3.5 standard deviations off; five never happen.
    spread = np.sqrt(expected * (1 - expected) / rounds)
    assert (np.abs(found - expected) <= 5 * spread + 1 / rounds).all()
    # Uniform cohorts are off by far: the largest would be asked in 2 % of rounds.
    assert np.abs(expected - share).max() > 0.04


def test_every_start_of_the_systematic_draw_counted_the_probabilities_are_exact() -> None:
    """All N starts for one order of clients: client k is drawn by exactly m·n_k of them."""
    images, size = np.array([5, 1, 7, 3, 4]), 2  # 2·7 < 20: nobody is certain

    class Start:
        """A generator that keeps the order and starts where it is told."""

        def __init__(self, start: int) -> None:
            self.start = start

        def permutation(self, number: int) -> np.ndarray:
            return np.arange(number)

        def integers(self, high: int) -> int:
            assert self.start < high == 20
            return self.start

    drawn = [systematic(images, size, Start(start)) for start in range(20)]  # type: ignore[arg-type]
    assert all(len(set(own.tolist())) == size for own in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=5)
    np.testing.assert_array_equal(counts, size * images)


def test_probabilities_are_capped_at_one_and_the_rest_is_shared() -> None:
    sizes = {"a": 1, "b": 2, "c": 3, "d": 90, "e": 40, "f": 2}
    expected = capped_probabilities(list(sizes.values()), 3)
    # d and e are certain; one place is left for 1 + 2 + 3 + 2 images.
    assert expected == [Fraction(1, 8), Fraction(2, 8), Fraction(3, 8), 1, 1, Fraction(2, 8)]
    np.testing.assert_array_equal(
        certain(np.array(list(sizes.values())), 3), [p == 1 for p in expected]
    )
    found = often_asked(Weighted(), sizes, 0.5, 2000)
    assert (found[[3, 4]] == 1).all()
    # Binomial(2000, ¼): standard deviation 0.0097; five of them.
    np.testing.assert_allclose(found, [float(p) for p in expected], atol=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_the_capped_ones_are_those_of_an_exhaustive_search(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = np.exp(generator.uniform(0, 6, 12)).astype(int) + 1
    for number in range(1, 12):
        expected = [p == 1 for p in capped_probabilities(sizes.tolist(), number)]
        np.testing.assert_array_equal(certain(sizes, number), expected)


def test_equal_sizes_are_drawn_as_uniform_does() -> None:
    sizes = dict.fromkeys((f"c{i:02d}" for i in range(20)), 17)
    found = often_asked(Weighted(), sizes, 0.4, 1000)
    assert (np.abs(found - 0.4) < 0.078).all()  # as above


def test_every_two_clients_meet_some_time() -> None:
    """In one fixed order, systematic sampling would never draw neighbours together."""
    sizes = {f"c{i}": 10 + i for i in range(8)}
    pairs = {
        (one, other)
        for round_ in range(400)
        for asked in [Weighted().cohort(list(sizes), 0.25, sizes, 0, round_)]
        for one in asked
        for other in asked
        if one < other
    }
    assert len(pairs) == 28


def test_below_full_participation_a_client_without_images_is_never_drawn() -> None:
    sizes = {"a": 5, "b": 0, "c": 3, "d": 0, "e": 1}
    asked = {n for r in range(50) for n in Weighted().cohort(list(sizes), 0.4, sizes, 0, r)}
    assert asked == {"a", "c", "e"}
    # Three of five are to come and two have images: both come.
    few = {"a": 5, "b": 0, "c": 3, "d": 0, "e": 0}
    assert Weighted().cohort(list(few), 0.6, few, 0, 0) == ("a", "c")
    with pytest.raises(InputError, match="no client has a training image"):
        Weighted().cohort(["a", "b"], 0.5, {"a": 0, "b": 0}, 0, 0)


def test_the_unweighted_mean_over_weighted_cohorts_is_the_mean_over_images() -> None:
    """Li et al.: E[mean over the cohort] = Σ n_k Δ_k / N; uniform cohorts give Σ Δ_k / K."""
    sizes = many_clients(60)
    images = np.array(list(sizes.values()), float)
    delta = np.log(images) + np.random.default_rng(0).normal(size=60)  # it goes with size
    aimed = float(images @ delta / images.sum())
    rounds, share = 1500, 0.05  # 3 of 60
    assert 3 * images.max() < images.sum()  # nobody is capped
    place = {name: i for i, name in enumerate(sizes)}

    def mean_and_error(sampling: Sampling) -> tuple[float, float]:
        means = [
            delta[[place[n] for n in sampling.cohort(list(sizes), share, sizes, 0, r)]].mean()
            for r in range(rounds)
        ]
        return float(np.mean(means)), float(np.std(means) / np.sqrt(rounds))

    mean, error = mean_and_error(Weighted())
    assert abs(mean - aimed) < 4 * error
    assert error < 0.05
    uniform, error = mean_and_error(Uniform())
    assert abs(uniform - delta.mean()) < 4 * error
    assert aimed - uniform > 1  # so that the law above is not empty
