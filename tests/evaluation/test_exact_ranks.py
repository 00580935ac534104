"""Exact ranks: scikit-learn's values with ties, masks and weights; nothing is sorted again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from concilium.evaluation.bootstrap import PatientHistograms, patient_weights
from concilium.evaluation.exact_ranks import ExactRanks
from concilium.evaluation.histograms import ties
from concilium.foundation.errors import InputError
from concilium.metrics.auroc import area_under_roc
from concilium.metrics.average_precision import mean_precision, mean_precision_bounds

BOTH = area_under_roc, mean_precision
Exams = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def exams(seed: int, num: int = 60, levels: int = 7, num_labels: int = 3) -> Exams:
    """Scores of a few levels, so that many are tied; a tenth unknown; patients of three exams."""
    rng = np.random.default_rng(seed)
    target = rng.random((num, num_labels)) < np.linspace(0.1, 0.5, num_labels)
    scores = np.round(rng.normal(0, 1, (num, num_labels)) + target, 3)
    scores = rng.choice(np.unique(scores), levels)[rng.integers(levels, size=scores.shape)]
    return scores, target, rng.random(target.shape) < 0.9, rng.integers(0, num // 3, num)


def scikit_learn(data: Exams, weights: np.ndarray) -> np.ndarray:
    """Both values (2, L) under patients' weights (P,); NaN where scikit-learn has none."""
    scores, target, known, patient = data
    own = weights[np.unique(patient, return_inverse=True)[1]]
    found = np.full((2, scores.shape[1]), np.nan)
    for label, rows in enumerate(known.T):
        y, z, w = target[rows, label], scores[rows, label], own[rows]
        if w[y].sum() > 0:
            found[1, label] = average_precision_score(y, z, sample_weight=w)
            if w[~y].sum() > 0:
                found[0, label] = roc_auc_score(y, z, sample_weight=w)
    return found


@settings(max_examples=8)
@given(seed=st.integers(0, 100_000), levels=st.integers(1, 40))
def test_equals_scikit_learn_with_ties_and_unknown_entries(seed: int, levels: int) -> None:
    data = exams(seed, levels=levels)
    everybody = np.ones(len(np.unique(data[3])))
    found = ExactRanks.of(*data).point(BOTH)
    np.testing.assert_allclose(found, scikit_learn(data, everybody), rtol=0, atol=1e-12)


@settings(max_examples=8)
@given(seed=st.integers(0, 100_000), levels=st.integers(1, 40))
def test_equals_scikit_learn_under_any_weights_of_patients(seed: int, levels: int) -> None:
    """Weights are real numbers, far below 1 for some and 0 for a third of the patients."""
    data = exams(seed, levels=levels)
    rng = np.random.default_rng(seed)
    shape = len(np.unique(data[3])), 2
    weights = rng.random(shape) ** 4 * (rng.random(shape) < 2 / 3)
    found = ExactRanks.of(*data).values(weights, BOTH)
    for replicate, own in enumerate(weights.T):
        expected = scikit_learn(data, own)
        np.testing.assert_allclose(found[:, replicate], expected, rtol=0, atol=1e-12)


def test_continuous_scores_of_many_exams_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((5000, 2)) < [0.3, 0.004]
    data = rng.normal(0, 1, (5000, 2)) + target, target, target | True, np.arange(5000)
    found = ExactRanks.of(*data).point(BOTH)
    np.testing.assert_allclose(found, scikit_learn(data, np.ones(5000)), rtol=0, atol=1e-12)


def test_by_hand() -> None:
    """Scores 3 (present), 2 (present, absent), 1 (absent), 0 (present).

    Of 3 · 2 pairs 2 + 1½ + 0 are in order. The precision at the three present ones is 1, 2/3
    (the tied absent one counts as found with it) and 3/5.
    """
    scores = np.array([[3.0], [2], [2], [1], [0]])
    target = np.array([[1], [1], [0], [0], [1]])
    auroc, precision = ExactRanks.of(scores, target, np.ones((5, 1), bool), np.arange(5)).point(
        BOTH
    )
    assert auroc[0] == pytest.approx(3.5 / 6, abs=1e-15)
    assert precision[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-15)


def test_a_replicate_is_scikit_learn_on_the_exams_drawn() -> None:
    scores, target, known, patient = exams(3, num=300, levels=200)
    numbers, index = np.unique(patient, return_inverse=True)
    weights = patient_weights(len(numbers), range(5), 7, "multinomial")
    found = ExactRanks.of(scores, target, known, patient).values(weights, BOTH)
    for replicate in range(5):
        times = weights[index, replicate].astype(int)
        for label in range(3):
            drawn = np.repeat(np.arange(len(times)), times * known[:, label])
            y, z = target[drawn, label], scores[drawn, label]
            expected = roc_auc_score(y, z), average_precision_score(y, z)
            np.testing.assert_allclose(found[:, replicate, label], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("present", [0, 1])
def test_a_label_of_one_class_has_no_auroc(present: int) -> None:
    scores, target, known, patient = exams(0)
    auroc, precision = ExactRanks.of(scores, target * 0 + present, known, patient).point(BOTH)
    assert np.isnan(auroc).all()
    assert (precision == 1).all() if present else np.isnan(precision).all()


def test_what_no_patient_weighs_or_nobody_knows_is_undefined() -> None:
    scores, target, known, patient = exams(0)
    ranks = ExactRanks.of(scores, target, known & [True, False, True], patient)
    found = ranks.values(
        np.stack([np.ones(ranks.num_patients), np.zeros(ranks.num_patients)], 1), BOTH
    )
    assert np.isnan(found[:, 0]).tolist() == [[False, True, False]] * 2
    assert np.isnan(found[:, 1]).all()
    nobody = np.zeros((0, 3))
    assert np.isnan(ExactRanks.of(nobody, nobody, nobody > 0, []).point(BOTH)).all()


def test_a_constant_score_is_chance() -> None:
    scores, target, known, patient = exams(0)
    auroc, precision = ExactRanks.of(scores * 0 + 0.1, target, known, patient).point(BOTH)
    assert (auroc == 0.5).all()
    np.testing.assert_allclose(precision, (target & known).sum(0) / known.sum(0), atol=1e-15)


def test_scores_that_one_bin_cannot_tell_apart_are_ranked() -> None:
    """All within 1/1000 logit, or beyond 16: the histograms see one bin, AUROC ½."""
    target = np.arange(40)[:, None] % 2 == 0
    for centre in (0.0101, 40.0):
        scores = centre + 1e-3 * target
        data = scores, target, target | True, np.arange(40)
        once = PatientHistograms.of(*data).resampled(np.ones((40, 1), np.float32))
        assert area_under_roc(once.positives, once.negatives).tolist() == [[0.5]]
        assert ExactRanks.of(*data).point(BOTH).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_scores_that_are_not_finite_are_refused_as_by_scikit_learn(value: float) -> None:
    scores, target, known, patient = exams(0)
    scores[4, 1] = value
    with pytest.raises(ValueError, match=r"contains (infinity|NaN)"):
        roc_auc_score(target[:, 1], scores[:, 1])
    with pytest.raises(InputError, match="scores of label 1: 1 of 60 are not finite"):
        ExactRanks.of(scores, target, known, patient)


def change_unknown(data: Exams, rng: np.random.Generator) -> Exams:
    scores, target, known, patient = data
    other = rng.normal(size=scores.shape)
    return np.where(known, scores, other), np.where(known, target, ~target), known, patient


def stretch(data: Exams, rng: np.random.Generator) -> Exams:
    return np.exp(data[0] / 2), *data[1:]


def permute_exams(data: Exams, rng: np.random.Generator) -> Exams:
    order = rng.permutation(len(data[0]))
    return tuple(part[order] for part in data)  # type: ignore[return-value]


@pytest.mark.parametrize("change", [change_unknown, stretch, permute_exams])
def test_what_changes_nothing(change: Callable[..., Exams]) -> None:
    """What stands at unknown entries, a rising function of the scores, the order of the exams."""
    data, rng = exams(5), np.random.default_rng(0)
    ranks, other = ExactRanks.of(*data), ExactRanks.of(*change(data, rng))
    weights = rng.poisson(1, (ranks.num_patients, 4))
    np.testing.assert_array_equal(ranks.values(weights, BOTH), other.values(weights, BOTH))


def test_permuted_labels_permute_the_values() -> None:
    scores, target, known, patient = exams(5)
    order = [2, 0, 1]
    permuted = ExactRanks.of(scores[:, order], target[:, order], known[:, order], patient)
    expected = ExactRanks.of(scores, target, known, patient).point(BOTH)[:, order]
    np.testing.assert_array_equal(permuted.point(BOTH), expected)


def test_histograms_of_the_same_replicates_lie_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((900, 3)) < [0.05, 0.2, 0.5]
    data = rng.normal(0, 0.3, target.shape) + target / 5, target, target | True, np.arange(900) // 2
    weights = patient_weights(450, range(20), 0)
    auroc, precision = ExactRanks.of(*data).values(weights, BOTH)
    bins = PatientHistograms.of(*data).resampled(weights)
    error = np.abs(area_under_roc(bins.positives, bins.negatives) - auroc)
    assert (error <= ties(bins.positives, bins.negatives)).all()
    assert error.max() > 1e-3  # the bins are coarse here: the bound is put to a test
    low, high = mean_precision_bounds(bins.positives, bins.negatives)
    assert (low <= precision).all() and (precision <= high).all()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (np.ones((4, 1)), r"of shape \(4, 1\) are not \(20, R\)"),
        (np.ones(20), r"of shape \(20,\) are not \(20, R\)"),
        (-np.ones((20, 1)), "finite and >= 0"),
        (np.full((20, 1), np.nan), "finite and >= 0"),
    ],
)
def test_weights_that_are_none_are_refused(weights: np.ndarray, said: str) -> None:
    scores, target, known, _ = exams(0)
    with pytest.raises(InputError, match=said):
        ExactRanks.of(scores, target, known, np.arange(60) // 3).values(weights, BOTH)
