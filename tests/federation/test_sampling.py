"""Cohorts: drawn by seed and round alone, in the order of the clients."""

from __future__ import annotations

import pytest

from concilium.federation.sampling import cohort

CLIENTS = [f"c{i:02d}" for i in range(20)]


@pytest.mark.parametrize(("participation", "size"), [(1.0, 20), (0.4, 8), (0.01, 1), (0.0, 1)])
def test_size(participation: float, size: int) -> None:
    assert len(cohort(CLIENTS, participation, 0, 3)) == size


def test_the_same_round_asks_the_same_clients_and_another_round_others() -> None:
    assert cohort(CLIENTS, 0.4, 0, 3) == cohort(CLIENTS, 0.4, 0, 3)
    assert len({cohort(CLIENTS, 0.4, 0, r) for r in range(10)}) > 5
    assert len({cohort(CLIENTS, 0.4, s, 0) for s in range(10)}) > 5


def test_order_is_kept_and_everybody_comes_up_equally() -> None:
    count = dict.fromkeys(CLIENTS, 0)
    for round_ in range(1000):
        chosen = cohort(CLIENTS, 0.4, 7, round_)
        assert list(chosen) == sorted(chosen)
        for name in chosen:
            count[name] += 1
    # Binomial(1000, 0.4): mean 400, standard deviation 15.5; five of them are 78.
    assert all(abs(number - 400) < 78 for number in count.values())
