"""Dealing patients: shares as exact as they can be, no worse than by the paper's algorithm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from iterstrat.ml_stratifiers import IterativeStratification

from concilium.data import stratification
from concilium.data.stratification import deal

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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


def entangled_patients(seed: int, most_images: int = 2) -> Counts:
    """16 rare labels, of about ten patients each; one in four of those has a frequent label too,
    which nobody else has; and images.
    """
    generator = np.random.default_rng(seed)
    images = generator.integers(1, most_images + 1, 160)
    rare = np.eye(16, dtype=np.int64)[generator.integers(16, size=160)] * images[:, None]
    rare[:20, 0] |= 1  # some have two of them
    frequent = generator.binomial(images, 0.25)
    return np.column_stack([rare, frequent, images])


def test_a_frequent_label_that_rare_ones_bring_comes_out_even(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Everybody is dealt by a rare label: nobody is left to even out the frequent one.
    shares = [0.5, 0.5]
    tables = [entangled_patients(seed, most_images=1) for seed in range(10)]

    def missed() -> npt.NDArray[np.float64]:
        parts = [deal(own, evenly(own, shares), np.random.default_rng(0)) for own in tables]
        pairs = zip(tables, parts, strict=True)
        return np.array([deviation(own, part, shares).max(0) for own, part in pairs])

    with_exchanges = missed()
    monkeypatch.setattr(stratification, "_make_room", lambda *_: None)
    without = missed()
    np.testing.assert_array_equal(with_exchanges[:, :16], without[:, :16])
    assert with_exchanges[:, 16].max() <= 1
    assert without[:, 16].max() >= 3  # images too many in one part, of about 20


@pytest.mark.parametrize("shares", [[0.7, 0.1, 0.2], [0.25] * 4])
def test_exchanging_never_makes_a_column_that_was_dealt_earlier_worse(
    monkeypatch: pytest.MonkeyPatch, shares: list[float]
) -> None:
    make_room, moved = stratification._make_room, []

    def checked(dealing: stratification._Dealing, before: Counts, column: int) -> None:
        need, part = dealing.need.copy(), dealing.part.copy()
        make_room(dealing, before, column)
        moved.append(np.count_nonzero(dealing.part != part))
        np.testing.assert_array_equal(dealing.need[:, before], need[:, before])
        np.testing.assert_array_equal(dealing.part < 0, part < 0)  # nobody else is dealt by it
        dealt = [dealing.counts[dealing.part == k].sum(0) for k in range(len(shares))]
        np.testing.assert_allclose(dealing.need, dealing.wanted - dealt, atol=1e-9)
        gained = abs(need[:, column]).sum() - abs(dealing.need[:, column]).sum()
        assert gained > 0 if moved[-1] else gained == 0

    monkeypatch.setattr(stratification, "_make_room", checked)
    for seed in range(10):
        counts = entangled_patients(seed)
        deal(counts, evenly(counts, shares), np.random.default_rng(seed))
    assert np.count_nonzero(moved) >= 5  # it saw exchanges
    assert max(moved) >= 4  # and one of two pairs at least


def test_nobody_changes_places_for_a_column_that_no_part_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = entangled_patients(0)
    wanted = evenly(counts, [0.7, 0.1, 0.2])
    wanted[:, 16] = 0
    part = deal(counts, wanted, np.random.default_rng(0))
    monkeypatch.setattr(stratification, "_make_room", lambda *_: None)
    np.testing.assert_array_equal(part, deal(counts, wanted, np.random.default_rng(0)))


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


# The dealing again, patient by patient in plain loops: slow, and easy to see through.


def dealt_plainly(
    counts: Counts, wanted: Floats, seed: int, num_first: int, one_by_one: bool
) -> list[int]:
    generator, totals, num_parts = np.random.default_rng(seed), counts.sum(0), len(wanted)
    columns = sorted(range(counts.shape[1]), key=lambda c: (c >= num_first, totals[c]))
    ties, need, part = generator.permutation(len(counts)), wanted.copy(), [-1] * len(counts)

    def place(patient: int, k: int) -> None:
        part[patient] = k
        need[k] -= counts[patient]

    def exchange(before: list[int], c: int) -> bool:
        full, needy = int(need[:, c].argmin()), int(need[:, c].argmax())
        left = round(min(-need[full, c], max(need[needy, c], 0)))
        if need[full, c] >= -1 or not left:
            return False
        found = False
        for kind in sorted({tuple(own[before].tolist()) for own in counts}):
            alike = [p for p, own in enumerate(counts) if tuple(own[before].tolist()) == kind]
            giving = [p for p in alike if part[p] == full and counts[p, c] == 1]
            taking = [p for p in alike if part[p] == needy and counts[p, c] == 0]
            for p, q in list(zip(giving, taking, strict=False))[:left]:
                need[full] += counts[p]
                need[needy] += counts[q]
                place(p, needy)
                place(q, full)
                left, found = left - 1, True
        return found

    for number, column in enumerate(columns):
        while not one_by_one and exchange(columns[:number], column):
            pass
        mine = [p for p, own in enumerate(counts) if column == next(c for c in columns if own[c])]
        mine.sort(key=lambda p: ([bool(counts[p, c]) for c in columns], ties[p]))
        share = wanted[:, column].clip(min=0)
        share = share if share.any() else np.ones(num_parts)
        for weight in sorted({int(counts[p, column]) for p in mine}, reverse=True):
            block = [p for p in mine if counts[p, column] == weight]
            if one_by_one or len(block) < 2 * num_parts:
                for p in block:
                    gain = need @ (counts[p] / np.maximum(totals, 1) ** 2.0)
                    place(p, max((k for k in range(num_parts) if share[k]), key=gain.__getitem__))
                continue
            short = need[:, column].clip(min=0) * (share > 0)
            quota = len(block) * (short if short.any() else share)
            quota = quota / (short if short.any() else share).sum()
            numbers, ordered = np.floor(quota).astype(int), generator.random(num_parts)
            remainders = [quota[k] - numbers[k] if quota[k] else -1 for k in range(num_parts)]
            largest = sorted(range(num_parts), key=lambda k: (-remainders[k], ordered[k]))
            numbers[largest[: len(block) - numbers.sum()]] += 1
            start = generator.random(num_parts)
            places = [
                ((i + start[k]) / numbers[k], k)
                for k in range(num_parts)
                for i in range(numbers[k])
            ]
            for p, (_, k) in zip(block, sorted(places), strict=True):
                place(p, k)
    return part


@pytest.mark.parametrize("one_by_one", [False, True])
def test_exchanges_are_those_of_plain_loops(one_by_one: bool) -> None:
    for seed in range(3):
        counts = entangled_patients(seed)
        wanted = evenly(counts, [0.7, 0.1, 0.2])
        part = deal(counts, wanted, np.random.default_rng(seed), 0, one_by_one)
        assert part.tolist() == dealt_plainly(counts, wanted, seed, 0, one_by_one)


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("num_first", [0, 2])
@pytest.mark.parametrize("shares", [[0.7, 0.1, 0.2], [0.2] * 5, [0.5, 0.5, 0.0]])
def test_it_deals_as_plain_loops_do(shares: list[float], num_first: int, one_by_one: bool) -> None:
    for seed in range(3):
        counts = some_patients(seed, 150)
        wanted = evenly(counts, shares)
        wanted[:, 3] = wanted[::-1, 3]  # another share of one column
        generator = np.random.default_rng(seed)
        part = deal(counts, wanted, generator, num_first, one_by_one)
        assert part.tolist() == dealt_plainly(counts, wanted, seed, num_first, one_by_one)


def test_more_columns_than_the_sorting_key_has_bits_are_dealt() -> None:
    generator = np.random.default_rng(0)
    counts = np.column_stack([generator.random((400, 80)) < 0.05, np.ones(400)]).astype(np.int64)
    part = deal(counts, evenly(counts, [0.5, 0.5]), np.random.default_rng(0))
    assert deviation(counts, part, [0.5, 0.5]).max() < 6  # of 20 a column, or 400
