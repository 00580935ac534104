"""Frequencies of labels and pairs from counts, each pair on the exams where both are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from concilium.joint.pair_counts import PairCounts
from concilium.labels.statistics import LabelStatistics
from tests.joint.ising import drawn, random_prior, statistics_of


def proportional_fitting(table: np.ndarray, first: float, second: float) -> np.ndarray:
    """Deming and Stephan's procedure on a 2×2 table: scale rows, scale columns, over and over."""
    for _ in range(2000):
        table = table * (np.array([1 - first, first]) / table.sum(1))[:, None]
        table = table * (np.array([1 - second, second]) / table.sum(0))[None, :]
    return table


def test_where_all_is_known_the_frequencies_are_the_counted_ones() -> None:
    present = drawn(random_prior(4, 0), 500, 1)
    statistics = statistics_of(present)
    counts = PairCounts.of(statistics)
    expected = statistics.both_present / 500
    np.testing.assert_allclose(counts.log_odds.sigmoid(), expected.diagonal(), rtol=1e-12)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(counts.pair_probability.numpy()[off], expected[off], rtol=1e-9)


def test_pairs_that_few_exams_know_are_fitted_to_the_prevalences_of_all() -> None:
    """As iterative proportional fitting has it: other margins, the odds ratio of the pair."""
    present = drawn(random_prior(3, 2), 900, 3)
    known = torch.rand(900, 3, generator=torch.Generator().manual_seed(4)) < 0.6
    counts = PairCounts.of(statistics_of(present, known))
    own = counts.log_odds.sigmoid().tolist()
    assert own == pytest.approx(((present & known).sum(0) / known.sum(0)).tolist(), rel=1e-6)
    differences = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = known[:, i] & known[:, j]
        table = np.zeros((2, 2))
        np.add.at(table, (present[both, i].long().numpy(), present[both, j].long().numpy()), 1)
        fitted = proportional_fitting(table, own[i], own[j])[1, 1]
        assert float(counts.pair_probability[i, j]) == pytest.approx(fitted, rel=1e-9)
        differences.append(abs(table[1, 1] / table.sum() - fitted))
    assert max(differences) > 5e-4  # the plain frequency is another


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # rows: neither, only the second, only the first, both
        ((50, 20, 30, 0), 0.0),  # never together
        ((0, 60, 40, 0), 0.0),  # always exactly one
        ((0, 40, 40, 20), 0.2),  # never neither: p + q − 1
        ((60, 0, 0, 40), 0.4),  # always together
        ((50, 20, 0, 30), 0.3),  # the first never alone
    ],
)
def test_empty_cells_of_a_table_are_kept(table: tuple[int, ...], expected: float) -> None:
    cells = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    present = cells.repeat_interleave(torch.tensor(table), 0) > 0
    counts = PairCounts.of(statistics_of(present))
    assert bool(counts.informative[0, 1])
    assert float(counts.pair_probability[0, 1]) == pytest.approx(expected, abs=1e-12)


def test_a_label_that_never_varies_says_nothing_of_any_other() -> None:
    present = torch.zeros(10, 2, dtype=torch.bool)
    present[:4, 0] = True
    counts = PairCounts.of(statistics_of(present))
    assert not bool(counts.informative[0, 1])
    odds = counts.log_odds.exp().tolist()
    assert odds == pytest.approx([4 / 6, 0.5 / 10])  # a count of 0 stands as one half
    probability = counts.log_odds.sigmoid()
    assert float(counts.pair_probability[0, 1]) == pytest.approx(float(probability.prod()))
    assert PairCounts.of(LabelStatistics.zero(2)).log_odds.tolist() == [0.0, 0.0]


def test_counts_worth_some_exams_keep_every_frequency() -> None:
    present = drawn(random_prior(3, 2), 900, 3)
    known = torch.rand(900, 3, generator=torch.Generator().manual_seed(4)) < 0.6
    known[:, 2] &= ~known[:, 0]
    counts = PairCounts.of(statistics_of(present, known))
    few = counts.worth(50)
    np.testing.assert_allclose(few.log_odds, counts.log_odds)
    np.testing.assert_allclose(few.pair_probability, counts.pair_probability)
    expected = torch.full((3, 3), 50.0, dtype=torch.float64)
    expected[0, 2] = expected[2, 0] = 0  # never known together
    np.testing.assert_allclose(few.both_known, expected)
