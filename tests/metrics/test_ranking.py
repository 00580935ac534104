"""AUROC and average precision from histograms: scikit-learn, torchmetrics, error of the bins."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.functional.classification import (
    multilabel_auroc,
    multilabel_average_precision,
)

from concilium.evaluation.histograms import CENTRES, bin_of, label_histogram, ties
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.auroc import Auroc, area_under_roc
from concilium.metrics.average_precision import (
    AveragePrecision,
    mean_precision,
    mean_precision_bounds,
    mean_precision_error,
)


def sums_of(scores: np.ndarray, target: np.ndarray) -> EvaluationSums:
    return EvaluationSums.of(scores, target, np.ones_like(target, bool), np.arange(len(scores)))


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 40))
def test_equals_scikit_learn_on_bin_centres(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = CENTRES[rng.choice(rng.choice(1024, levels), (50, 1))]  # many ties
    target = rng.random((50, 1)) < 0.3
    target[:2, 0] = True, False
    sums = sums_of(scores, target)
    expected = roc_auc_score(target[:, 0], scores[:, 0])
    assert Auroc()(sums)[0] == pytest.approx(expected, abs=1e-12)
    expected = average_precision_score(target[:, 0], scores[:, 0])
    assert AveragePrecision()(sums)[0] == pytest.approx(expected, abs=1e-12)


def test_agrees_with_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((300, 3)) < [0.4, 0.2, 0.05]
    scores = CENTRES[bin_of(rng.normal(-1, 1, (300, 3)) + target)]
    sums = sums_of(scores, target)
    tensors = torch.tensor(scores).sigmoid(), torch.tensor(target).long()
    auroc = multilabel_auroc(*tensors, num_labels=3, average=None)
    np.testing.assert_allclose(Auroc()(sums), auroc, atol=1e-6)  # torchmetrics counts in float32
    precision = multilabel_average_precision(*tensors, num_labels=3, average=None)
    np.testing.assert_allclose(AveragePrecision()(sums), precision, atol=1e-6)


@pytest.mark.parametrize("prevalence", [0.002, 0.02, 0.2])
def test_error_of_the_bins_on_continuous_scores(prevalence: float) -> None:
    """Against exact ranks, at a separation of 1.2 (AUROC .80), 0.2 % prevalence included."""
    rng = np.random.default_rng(0)
    target = np.arange(20_000)[:, None] < prevalence * 20_000
    centre = np.log(prevalence / (1 - prevalence))
    scores = rng.normal(centre, 1, (20_000, 1)) + 1.2 * target
    sums = sums_of(scores, target)
    error = abs(Auroc()(sums)[0] - roc_auc_score(target[:, 0], scores[:, 0]))
    assert error <= ties(sums.positives, sums.negatives)[0] <= 0.008  # the bound of any order
    assert error < 3e-4
    exact = average_precision_score(target[:, 0], scores[:, 0])
    assert abs(AveragePrecision()(sums)[0] - exact) < 0.01 * exact + 1e-3


@pytest.mark.slow
def test_stated_error_on_real_networks(real_data: Path) -> None:
    """The numbers that ``evaluation.histograms`` states, of one network of each architecture."""
    file = np.load(real_data / "casp_nih28_test_logits.npz", allow_pickle=False)
    target = file["labels"] > 0
    for network in range(0, 40, 5):
        scores = file["logits"][network].astype(np.float64)
        sums = sums_of(scores, target)
        columns = range(target.shape[1])
        exact = [roc_auc_score(target[:, i], scores[:, i]) for i in columns]
        assert np.abs(Auroc()(sums) - exact).max() < 0.0003
        exact = [average_precision_score(target[:, i], scores[:, i]) for i in columns]
        difference = AveragePrecision()(sums) - exact
        assert np.abs(difference).max() < 0.002 and abs(difference.mean()) < 0.00075


def test_chance_perfection_and_reversal() -> None:
    target = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1]])
    scores = target * [0.0, 2.0, -2.0] + [0.3, 0.3, 0.3]
    sums = sums_of(scores, target)
    assert Auroc()(sums).tolist() == [0.5, 1.0, 0.0]
    # a constant score has the prevalence, 2 of 4; reversed, both positives come after two others
    assert AveragePrecision()(sums).tolist() == [0.5, 1.0, 0.5]


def test_undefined_is_nan() -> None:
    sums = sums_of(np.zeros((3, 2)), np.array([[1, 0]] * 3))
    assert np.isnan(Auroc()(sums)).all()
    assert AveragePrecision()(sums)[0] == 1 and np.isnan(AveragePrecision()(sums)[1])


def test_vectorised_over_leading_axes() -> None:
    rng = np.random.default_rng(0)
    positives, negatives = rng.integers(0, 3, (2, 4, 5, 16))
    for statistic in (area_under_roc, mean_precision):
        whole = statistic(positives, negatives)
        one = [[statistic(positives[i, j], negatives[i, j]) for j in range(5)] for i in range(4)]
        np.testing.assert_allclose(whole, one, rtol=1e-13)


def test_reversing_scores_and_targets_keeps_the_auroc() -> None:
    rng = np.random.default_rng(1)
    target = rng.random((200, 1)) < 0.3
    bins = bin_of(rng.normal(size=(200, 1)) + target)
    everything = np.ones_like(target)
    positives = label_histogram(bins, target & everything)
    negatives = label_histogram(bins, ~target)
    forwards = area_under_roc(positives, negatives)
    backwards = area_under_roc(negatives[:, ::-1], positives[:, ::-1])
    np.testing.assert_allclose(forwards, backwards, atol=1e-14)


def orders(positives: int, negatives: int) -> Iterator[list[tuple[int, int]]]:
    """Every order of so many entries, ties included: (present, absent) of each group of equals."""
    if positives == negatives == 0:
        yield []
    for p, n in product(range(positives + 1), range(negatives + 1)):
        if p + n:
            for rest in orders(positives - p, negatives - n):
                yield [(p, n), *rest]


def precision_of(groups: list[tuple[int, int]]) -> float:
    """Average precision of groups of equal scores, the highest first, straight from its sum."""
    found = np.cumsum([0, *(p for p, _ in groups)])
    alerts = np.cumsum([p + n for p, n in groups])
    steps = [(after - before) * after for before, after in pairwise(found)]
    return float(sum(steps / alerts) / found[-1])


def orders_in(bins: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Every order of the entries of these bins, the highest bin first, in groups of equals."""
    chosen = product(*(list(orders(*own)) for own in bins))
    return [[group for own in parts for group in own] for parts in chosen]


def auroc_of(groups: list[tuple[int, int]]) -> float:
    """Pairs in order and half of those tied, over all pairs, counted pair by pair."""
    ranked = [(-place, p, n) for place, (p, n) in enumerate(groups)]
    won = sum(p * n * ((i > j) + (i == j) / 2) for i, p, _ in ranked for j, _, n in ranked)
    return won / sum(p * n for _, p, _ in ranked for _, _, n in ranked)


SMALL = pytest.mark.parametrize(
    "bins", [[(2, 2)], [(1, 2), (2, 1)], [(0, 2), (3, 1)], [(2, 0), (1, 1)]]
)


@SMALL
def test_ties_are_the_distance_to_the_worst_and_to_the_best_order(
    bins: list[tuple[int, int]],
) -> None:
    found = [auroc_of(groups) for groups in orders_in(bins)]
    positives, negatives = np.array(bins[::-1]).T  # the highest bin is the last
    value, most = area_under_roc(positives, negatives), ties(positives, negatives)
    assert (value - most, value + most) == (pytest.approx(min(found)), pytest.approx(max(found)))


@SMALL
def test_bounds_of_average_precision_are_the_worst_and_the_best_order(
    bins: list[tuple[int, int]],
) -> None:
    """By trying every order of the entries in each bin, with every way to tie them."""
    found = [precision_of(groups) for groups in orders_in(bins)]
    positives, negatives = np.array(bins[::-1]).T  # the highest bin is the last
    low, high = mean_precision_bounds(positives, negatives)
    assert (low, high) == (pytest.approx(min(found)), pytest.approx(max(found)))
    value = mean_precision(positives, negatives)
    assert value == pytest.approx(precision_of(bins)) and low <= value <= high
    assert mean_precision_error(positives, negatives) == pytest.approx(
        max(abs(value - end) for end in (min(found), max(found)))
    )


@pytest.mark.parametrize("prevalence", [0.002, 0.02, 0.2])
def test_bounds_of_average_precision_hold_on_continuous_scores(prevalence: float) -> None:
    rng = np.random.default_rng(0)
    target = np.arange(20_000)[:, None] < prevalence * 20_000
    sums = sums_of(scores := rng.normal(-2, 1, target.shape) + 1.2 * target, target)
    exact = average_precision_score(target[:, 0], scores[:, 0])
    low, high = mean_precision_bounds(sums.positives, sums.negatives)
    assert low[0] <= exact <= high[0]
    assert high[0] - low[0] < 0.1 * exact + 0.002  # a tenth of it: worth being told


def test_bounds_of_average_precision_are_narrow_where_bins_hold_one_entry() -> None:
    """With one entry a bin there is one order; without positives there is no average precision."""
    rng = np.random.default_rng(0)
    positives = rng.random((2, 30)) < 0.5
    positives[1] = False
    low, high = mean_precision_bounds(positives.astype(int), (~positives).astype(int))
    value = mean_precision(positives.astype(int), (~positives).astype(int))
    np.testing.assert_allclose(low, value, atol=1e-12)
    np.testing.assert_allclose(high, value, atol=1e-12)
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [False, True]
