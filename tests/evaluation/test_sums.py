"""Laws of evaluation sums: merged equals pooled exactly, order does not matter, labels permute."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concilium.evaluation.histograms import CENTRES, EDGES, NUM_BINS, bin_of
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics

THRESHOLDS = [0.0, -1.0, np.nan, np.inf]
LABEL_SETS = ((0, 1), (0, 1, 3), (2,))
Exams = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def exams(seed: int, num_exams: int = 60, num_labels: int = 4) -> Exams:
    """Scores, soft targets, known with gaps, and patients with about two exams each."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(-1, 3, (num_exams, num_labels))
    target = rng.choice([0.0, 1.0, 0.7], (num_exams, num_labels), p=[0.6, 0.3, 0.1])
    known = rng.random((num_exams, num_labels)) < 0.8
    return scores, target, known, np.sort(rng.integers(0, num_exams // 2, num_exams))


def sums_of(data: Exams, rows: Any = slice(None)) -> EvaluationSums:
    return EvaluationSums.of(*(part[rows] for part in data), THRESHOLDS, LABEL_SETS)


def assert_equal(one: EvaluationSums, other: EvaluationSums) -> None:
    """Equal bit for bit, field by field."""
    first, second = one.to_arrays(), other.to_arrays()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_merged_equals_pooled_exactly(seed: int, cuts: list[int]) -> None:
    data = exams(seed)
    owner = np.searchsorted(sorted(cuts), data[3], side="right")  # hospitals own whole patients
    parts = [sums_of(data, owner == k) for k in range(len(cuts) + 1)]
    zero = EvaluationSums.zero(4, THRESHOLDS, LABEL_SETS)
    assert_equal(reduce(add, parts, zero), sums_of(data))


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_order_of_exams_and_of_hospitals_does_not_matter(seed: int) -> None:
    data = exams(seed)
    shuffled = np.random.default_rng(seed).permutation(60)
    assert_equal(sums_of(data, shuffled), sums_of(data))
    a, b = sums_of(exams(seed + 1)), sums_of(exams(seed + 2))
    assert_equal(sums_of(data) + a + b, b + (a + sums_of(data)))


@given(seed=st.integers(0, 1000))
def test_permuting_labels_permutes_everything(seed: int) -> None:
    scores, target, known, patient = exams(seed)
    order = np.random.default_rng(seed).permutation(4)
    place = np.argsort(order)
    sets = tuple(tuple(int(place[label]) for label in labels) for labels in LABEL_SETS)
    permuted = EvaluationSums.of(
        *(part[:, order] for part in (scores, target, known)),
        patient,
        np.array(THRESHOLDS)[order],
        sets,
    ).to_arrays()
    for name, array in sums_of(exams(seed)).to_arrays().items():
        expected = array
        if name == "alerts.label_sets":
            expected = array[:, order]
        elif array.shape[:1] == (4,):
            expected = array[order][:, order] if array.shape == (4, 4) else array[order]
        np.testing.assert_array_equal(permuted[name], expected, err_msg=name)


def test_what_stands_at_unknown_entries_has_no_influence() -> None:
    scores, target, known, patient = exams(0)
    other_target = np.where(known, target, np.nan)
    other_scores = np.where(known, scores, 15.0)
    assert_equal(
        sums_of((scores, target, known, patient)),
        sums_of((other_scores, other_target, known, patient)),
    )


def test_counts_against_loops() -> None:
    scores, target, known, patient = exams(3)
    sums = sums_of((scores, target, known, patient))
    present, alert = (target > 0.5) & known, (scores >= THRESHOLDS) & known
    probability = 1 / (1 + np.exp(-scores))
    for a in range(4):
        for b in range(4):
            found = present[:, a] & alert[:, a]
            both = present[:, a] & present[:, b]
            expected_both = (found & present[:, b] & alert[:, b]).sum()
            assert sums.alerts.both_found[a, b] == expected_both
            assert sums.alerts.found_beside[a, b] == (both & alert[:, a]).sum()
            false_alert = alert[:, a] & ~present[:, a] & present[:, b]
            assert sums.alerts.false_alerts_beside[a, b] == false_alert.sum()
            mutual = known[:, a] & known[:, b]
            product = probability[mutual, a] * (1 if a == b else probability[mutual, b])
            # 60 probabilities rounded to 2^-17 each
            assert sums.predicted_pairs[a, b] == pytest.approx(product.sum(), abs=60 * 2**-16)
    missed = present & ~alert
    assert sums.alerts.exams_with_finding == present.any(1).sum()
    assert sums.alerts.exams_with_miss == missed.any(1).sum()
    assert sums.alerts.exams_with_alert == alert.any(1).sum()
    assert sums.alerts.num_alerts == alert.sum()
    assert sums.alerts.set_present.tolist() == [
        present[:, [*labels]].all(1).sum() for labels in LABEL_SETS
    ]
    assert sums.alerts.set_found.tolist() == [
        (present & alert)[:, [*labels]].all(1).sum() for labels in LABEL_SETS
    ]


def test_histograms_agree_with_the_label_statistics() -> None:
    scores, target, known, patient = exams(4)
    sums = sums_of((scores, target, known, patient))
    expected = LabelStatistics.of(target.astype(np.float32), known, patient)
    np.testing.assert_array_equal(sums.positives.sum(1), expected.positives)
    np.testing.assert_array_equal(sums.negatives.sum(1), expected.negatives)
    np.testing.assert_array_equal(sums.statistics.both_known, expected.both_known)


def test_a_target_that_float32_rounds_to_one_half_counts_the_same_everywhere() -> None:
    target = np.array([[0.5 + 1e-12]])
    sums = EvaluationSums.of([[0.0]], target, [[True]], [0])
    assert sums.positives.sum() == sums.statistics.positives.sum() == 0


@given(st.lists(st.floats(-20, 20) | st.sampled_from(EDGES[1:-1].tolist()), min_size=1))
def test_bins_are_exact_at_their_edges(scores: list[float]) -> None:
    values = np.array([*scores, -1e-30, -1e300, 1e300])
    bins = bin_of(values)
    assert (EDGES[bins] <= values).all() and (values < EDGES[bins + 1]).all()
    assert (bin_of(CENTRES) == np.arange(NUM_BINS)).all()


def test_arrays_round_trip_and_are_checked() -> None:
    sums = sums_of(exams(5))
    arrays = sums.to_arrays()
    assert_equal(EvaluationSums.from_arrays(arrays), sums)
    assert EvaluationSums.from_arrays(arrays).alerts.label_sets == LABEL_SETS
    arrays["positive"] = arrays.pop("positives")
    with pytest.raises(InputError) as missing:
        EvaluationSums.from_arrays(arrays)
    assert len(missing.value.problems) == 2 and "did you mean 'positives'?" in str(missing.value)
    with pytest.raises(InputError, match=r"log_loss: shape \(4, 2\)"):
        EvaluationSums.from_arrays({**sums.to_arrays(), "log_loss": np.zeros((4, 2))})


def test_sums_at_different_thresholds_or_label_sets_are_refused() -> None:
    nobody = EvaluationSums.zero(4, THRESHOLDS, LABEL_SETS)
    with pytest.raises(InputError, match="thresholds"):
        nobody + EvaluationSums.zero(4, None, LABEL_SETS)
    with pytest.raises(InputError, match="label sets"):
        nobody + EvaluationSums.zero(4, THRESHOLDS, ((0, 1),))


def test_all_problems_of_bad_input_are_named() -> None:
    with pytest.raises(InputError) as shapes:
        EvaluationSums.of(np.zeros((3, 2)), np.zeros((3, 1)), np.ones((2, 2)), [0, 1])
    assert len(shapes.value.problems) == 3
    scores = np.array([[np.nan, 0.0], [np.inf, 0.0]])
    with pytest.raises(InputError) as values:
        EvaluationSums.of(scores, [[0, 2], [1, 0]], np.ones((2, 2)), [0, 1])
    assert "scores of label 0: 2 of 2 are not finite" in str(values.value)
    assert "target of label 1: 1 known values" in str(values.value)
    with pytest.raises(InputError, match="label set 0"):
        EvaluationSums.zero(2, None, ((0, 2),))
    with pytest.raises(InputError, match="thresholds"):
        EvaluationSums.zero(2, [0.0])
