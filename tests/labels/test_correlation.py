"""How labels go together: numpy and counting as references, masks, and what is undefined."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from concilium.labels.correlation import (
    conditional_prevalence,
    phi,
    pointwise_mutual_information,
)
from concilium.labels.statistics import LabelStatistics

MEASURES = (conditional_prevalence, phi, pointwise_mutual_information)


def statistics_of(
    present: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_] | None = None
) -> LabelStatistics:
    known = np.ones(present.shape, bool) if known is None else known
    return LabelStatistics.of(present.astype(np.float32), known, np.arange(len(present)))


def random_labels(seed: int, rows: int = 400) -> npt.NDArray[np.bool_]:
    """Five labels that share a cause, so that all pairs go together."""
    generator = np.random.default_rng(seed)
    cause = generator.normal(size=(rows, 1))
    return np.asarray(cause + generator.normal(size=(rows, 5)) > [0, 0.5, 1, 1.5, -0.5])


@pytest.mark.parametrize("seed", range(5))
def test_phi_is_numpys_correlation_where_all_is_known(seed: int) -> None:
    present = random_labels(seed)
    np.testing.assert_allclose(
        phi(statistics_of(present)), np.corrcoef(present.T.astype(float)), atol=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_with_masks_each_pair_is_taken_over_the_images_on_which_both_are_known(seed: int) -> None:
    present = random_labels(seed)
    known = np.random.default_rng(seed + 100).random(present.shape) < 0.6
    statistics = statistics_of(present, known)
    of_phi, of_conditional = phi(statistics), conditional_prevalence(statistics)
    of_pmi = pointwise_mutual_information(statistics)
    for i in range(5):
        for j in range(5):
            both = known[:, i] & known[:, j]
            a, b = present[both, i], present[both, j]
            expected = np.corrcoef(a.astype(float), b.astype(float))[0, 1]
            assert of_phi[i, j] == pytest.approx(expected, abs=1e-12)
            assert of_conditional[i, j] == pytest.approx(a[b].mean())
            assert of_pmi[i, j] == pytest.approx(np.log((a & b).mean() / (a.mean() * b.mean())))


def test_a_hospital_that_annotates_one_label_says_nothing_of_the_pair() -> None:
    # 100 images with both labels known; 900 more on which only the first is, present on all.
    present = random_labels(0, rows=1000)[:, :2]
    known = np.ones((1000, 2), bool)
    present[100:, 0], known[100:, 1] = True, False
    merged = statistics_of(present[:100]) + statistics_of(present[100:], known[100:])
    for measure in (phi, pointwise_mutual_information):
        off_diagonal = measure(merged)[0, 1]
        assert off_diagonal == pytest.approx(measure(statistics_of(present[:100]))[0, 1])
    second = conditional_prevalence(merged)[1, 0]
    assert second == pytest.approx(present[:100][present[:100, 0], 1].mean())


def test_independent_labels_have_phi_and_mutual_information_zero() -> None:
    # Every combination of two labels with prevalence 1/2 and 1/4, once: exactly independent.
    present = np.array([[i < 4, j == 0] for i in range(8) for j in range(4)])
    statistics = statistics_of(present)
    assert phi(statistics)[0, 1] == 0
    assert pointwise_mutual_information(statistics)[0, 1] == 0
    assert conditional_prevalence(statistics)[0, 1] == 0.5
    assert conditional_prevalence(statistics)[1, 0] == 0.25


def test_labels_that_exclude_each_other() -> None:
    statistics = statistics_of(np.array([[True, False], [False, True]]))
    assert phi(statistics)[0, 1] == -1
    assert pointwise_mutual_information(statistics)[0, 1] == -np.inf
    assert conditional_prevalence(statistics)[0, 1] == 0


def test_what_never_varies_or_is_never_known_is_undefined() -> None:
    present = np.array([[True, False, True, False], [False, False, True, False]])
    known = np.array([[True, True, True, False], [True, True, True, False]])
    statistics = statistics_of(present, known)
    varies = np.array([True, False, False, False])
    assert (np.isfinite(phi(statistics)) == np.outer(varies, varies)).all()
    occurs = np.array([True, False, True, False])
    pmi = pointwise_mutual_information(statistics)
    assert (np.isfinite(pmi) == np.outer(occurs, occurs)).all()
    # P(l | m) needs m to occur where l is known: label 3 is known nowhere.
    conditional = np.isfinite(conditional_prevalence(statistics))
    assert (conditional == np.outer([True, True, True, False], occurs)).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_permuting_the_labels_permutes_the_result(measure: object) -> None:
    assert callable(measure)
    present, order = random_labels(3), np.array([3, 0, 4, 1, 2])
    known = np.random.default_rng(5).random(present.shape) < 0.7
    whole = measure(statistics_of(present, known))
    permuted = measure(statistics_of(present[:, order], known[:, order]))
    np.testing.assert_array_equal(permuted, whole[np.ix_(order, order)])


def test_counts_of_a_large_federation_do_not_overflow() -> None:
    # A billion images: n₁ (n − n₁) n₂ (n − n₂) is 6e34, far beyond 64-bit integers.
    n = 10**9
    counts = np.array([[n // 2, n // 4], [n // 4, n // 2]], np.int64)
    known = np.full((2, 2), n, np.int64)
    positives = np.full((2, 2), n // 2, np.int64)
    assert phi(LabelStatistics(n, n, known, counts, positives))[0, 1] == 0
