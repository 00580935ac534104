"""The laws of samplings, run on every file of ``concilium/samplings`` as it is found."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.foundation import components
from concilium.samplings.contract import Sampling, cohort_size

CLIENTS = [f"c{i:02d}" for i in range(20)]
SIZES = {name: 1 + 7 * i for i, name in enumerate(reversed(CLIENTS))}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sampling" in metafunc.fixturenames:
        names = components.names("samplings")
        metafunc.parametrize(
            "sampling", [components.build("samplings", name) for name in names], ids=names
        )


@pytest.mark.parametrize(
    ("participation", "size"), [(1.0, 20), (0.4, 8), (0.07, 1), (0.01, 1), (0.0, 1)]
)
def test_a_cohort_is_the_fraction_that_takes_part_and_at_least_one(
    sampling: Sampling, participation: float, size: int
) -> None:
    assert cohort_size(20, participation) == size
    for round_ in range(20):
        assert len(sampling.cohort(CLIENTS, participation, SIZES, 0, round_)) == size


def test_the_size_of_a_cohort_is_rounded_not_cut() -> None:
    """0.28 of 10 is 2.8: three. 20 · 0.29 is 5.8: six."""
    assert cohort_size(10, 0.28) == 3
    assert cohort_size(20, 0.29) == 6
    assert cohort_size(10, 0.23) == 2


def test_with_full_participation_everybody_is_asked_whatever_the_sizes(sampling: Sampling) -> None:
    nothing = dict.fromkeys(CLIENTS, 0)
    for sizes in ({}, SIZES, nothing):
        assert sampling.cohort(CLIENTS, 1.0, sizes, 0, 3) == tuple(CLIENTS)


def test_the_same_round_asks_the_same_clients_and_another_round_or_seed_others(
    sampling: Sampling,
) -> None:
    def drawn(seed: int, round_: int) -> tuple[str, ...]:
        return sampling.cohort(CLIENTS, 0.4, SIZES, seed, round_)

    assert drawn(0, 3) == drawn(0, 3)
    assert len({drawn(0, round_) for round_ in range(10)}) > 5
    assert len({drawn(seed, 0) for seed in range(10)}) > 5


def test_nobody_is_asked_twice_and_the_order_of_clients_is_kept(sampling: Sampling) -> None:
    shuffled = [CLIENTS[i] for i in np.random.default_rng(0).permutation(20)]
    for round_ in range(50):
        asked = sampling.cohort(shuffled, 0.4, SIZES, 1, round_)
        assert list(asked) == [name for name in shuffled if name in asked]


def test_a_cohort_does_not_depend_on_sizes_unless_the_sampling_says_so(sampling: Sampling) -> None:
    turned = dict(zip(CLIENTS, SIZES.values(), strict=True))
    cohorts = [
        [sampling.cohort(CLIENTS, 0.3, sizes, 5, round_) for round_ in range(10)]
        for sizes in (SIZES, turned)
    ]
    assert (cohorts[0] != cohorts[1]) == sampling.needs_sizes
    if not sampling.needs_sizes:
        assert sampling.cohort(CLIENTS, 0.3, {}, 5, 0) == cohorts[0][0]
