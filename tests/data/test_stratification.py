"""Dealing patients: shares as exact as they can be, no worse than by the paper's algorithm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from iterstrat.ml_stratifiers import IterativeStratification

from concilium.data.stratification import deal

Counts = npt.NDArray[np.int64]


def some_patients(seed: int, number: int = 600, most_images: int = 6) -> Counts:
    """Images with each of five labels (from 40 % to 1 %), and images, of every patient."""
    generator = np.random.default_rng(seed)
    images = generator.integers(1, most_images + 1, number)
    prevalence = np.array([0.4, 0.2, 0.1, 0.05, 0.01])
    return np.column_stack([generator.binomial(images[:, None], prevalence), images])


def evenly(counts: Counts, shares: list[float]) -> npt.NDArray[np.float64]:
    return np.outer(shares, counts.sum(0))


def deviation(counts: Counts, part: npt.NDArray[np.intp], shares: list[float]) -> Counts:
    """By how much each part (K,) misses its share of each column (K, C)."""
    dealt = np.stack([counts[part == k].sum(0) for k in range(len(shares))])
    return abs(dealt - evenly(counts, shares))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shares", [[0.7, 0.1, 0.2], [0.2] * 5, [0.5, 0.5, 0.0]])
def test_every_label_gets_its_share_to_within_two_images(seed: int, shares: list[float]) -> None:
    counts = some_patients(seed)
    part = deal(counts, evenly(counts, shares), np.random.default_rng(seed))
    assert set(part.tolist()) == {k for k, share in enumerate(shares) if share > 0}
    missed = deviation(counts, part, shares)
    assert missed[:, :-1].max() < 2
    # Images come last, when few patients are left to even them out (nine tenths have a label here).
    assert missed[:, -1].max() < 0.01 * counts[:, -1].sum()


@pytest.mark.parametrize("seed", range(5))
def test_balance_is_no_worse_than_iterative_stratification(seed: int) -> None:
    # The reference knows no patients who carry a label several times: one image each.
    counts = (some_patients(seed, 300, 1) > 0).astype(np.int64)
    shares = [0.7, 0.1, 0.2]
    reference = IterativeStratification(
        labels=counts[:, :-1] > 0, r=np.array(shares), random_state=np.random.RandomState(seed)
    )
    part = deal(counts, evenly(counts, shares), np.random.default_rng(seed))
    ours, theirs = deviation(counts, part, shares), deviation(counts, reference, shares)
    assert ours.mean() <= theirs.mean() + 1e-9


def test_it_is_better_than_chance() -> None:
    counts, shares = some_patients(0), [0.7, 0.1, 0.2]
    generator = np.random.default_rng(0)
    random = deviation(counts, generator.choice(3, len(counts), p=shares), shares)
    part = deal(counts, evenly(counts, shares), generator)
    assert deviation(counts, part, shares).mean() < random.mean() / 10


def test_the_order_of_the_columns_does_not_matter() -> None:
    counts, order = some_patients(1), np.array([4, 2, 5, 0, 3, 1])
    assert len(set(counts.sum(0).tolist())) == counts.shape[1]  # no two are equally frequent
    one = deal(counts, evenly(counts, [0.6, 0.4]), np.random.default_rng(0))
    two = deal(counts[:, order], evenly(counts, [0.6, 0.4])[:, order], np.random.default_rng(0))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_unequal_shares_of_a_column_are_met(one_by_one: bool) -> None:
    # All of the rarest label to part 2, equal shares of everything else.
    counts = some_patients(2)
    wanted = evenly(counts, [1 / 3] * 3)
    wanted[:, 4] = [0, 0, counts[:, 4].sum()]
    part = deal(counts, wanted, np.random.default_rng(0), one_by_one=one_by_one)
    assert (part[counts[:, 4] > 0] == 2).all()
    dealt = np.stack([counts[part == k].sum(0) for k in range(3)])
    assert abs(dealt - wanted)[:, [0, 1, 2, 3, 5]].max() <= 4


def test_the_first_columns_are_dealt_before_rarer_ones() -> None:
    # One patient has both: by the frequent column it belongs to part 0, by the rare one to part 1.
    counts = np.array([[1, 1], [1, 0], [1, 0], [1, 0]])
    wanted = np.array([[4.0, 0.0], [0.0, 1.0]])
    generator = np.random.default_rng(0)
    assert deal(counts, wanted, generator, num_first=0)[0] == 1
    assert deal(counts, wanted, generator, num_first=1)[0] == 0


def test_one_heavy_patient_does_not_overfill_a_part() -> None:
    # 30 of 60 images belong to one patient: nobody else goes with them.
    counts = np.array([[0, 30]] + [[0, 1]] * 20 + [[1, 1]] * 10)
    part = deal(counts, evenly(counts, [0.5, 0.5]), np.random.default_rng(0))
    images = np.bincount(part, counts[:, 1])
    # The ten labels are dealt first, half and half; all of the images follow as well as they can.
    assert abs(images - 30).max() <= 5


def test_another_generator_deals_otherwise_and_the_same_one_equally() -> None:
    counts = some_patients(3)
    wanted = evenly(counts, [0.5, 0.5])
    parts = [deal(counts, wanted, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(parts[0], parts[1])
    assert (parts[0] != parts[2]).any()
