"""Bootstrap over patients: equals brute force with the same weights; hospitals add up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from concilium.evaluation import bootstrap
from concilium.evaluation.averages import macro_replicates
from concilium.evaluation.bootstrap import (
    BootstrapSums,
    PatientHistograms,
    interval,
    patient_weights,
    replicate_sums,
    replicate_values,
)
from concilium.evaluation.histograms import CENTRES, bin_of
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.errors import InputError
from concilium.metrics.auroc import area_under_roc
from concilium.metrics.average_precision import mean_precision


def exams(seed: int = 0, num_exams: int = 300) -> tuple[np.ndarray, ...]:
    """Scores at bin centres; patients with three exams on average, and labels that go with them."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, num_exams // 3, num_exams) + 1000 * seed
    target = rng.random((num_exams, 2)) < [0.4, 0.1]
    scores = CENTRES[bin_of(rng.normal(0, 1, (num_exams, 2)) + target)]
    return scores, target, rng.random((num_exams, 2)) < 0.9, patient


@pytest.mark.parametrize("resampling", ["poisson", "multinomial"])
def test_each_replicate_equals_scikit_learn_on_the_resampled_exams(resampling: str) -> None:
    scores, target, known, patient = exams()
    sums = replicate_sums(scores, target, known, patient, 6, 7, resampling)
    numbers, index = np.unique(patient, return_inverse=True)
    weights = patient_weights(len(numbers), range(6), 7, resampling)
    for r in range(6):
        times = weights[index, r].astype(int)
        for label in range(2):
            drawn = np.repeat(np.arange(len(times)), times * known[:, label])
            y, z = target[drawn, label], scores[drawn, label]
            auroc = sums.values(area_under_roc)[r, label]
            assert auroc == pytest.approx(roc_auc_score(y, z), abs=1e-12)
            precision = sums.values(mean_precision)[r, label]
            assert precision == pytest.approx(average_precision_score(y, z), abs=1e-12)


def test_weights_of_one_are_the_point_estimate() -> None:
    data = exams()
    histograms = PatientHistograms.of(*data)
    once = histograms.resampled(np.ones((histograms.num_patients, 1), np.float32))
    expected = EvaluationSums.of(*data)
    np.testing.assert_array_equal(once.positives[0], expected.positives)
    np.testing.assert_array_equal(once.negatives[0], expected.negatives)


def test_hospitals_add_up_to_the_pooled_bootstrap_with_their_weights() -> None:
    a, b = PatientHistograms.of(*exams(0)), PatientHistograms.of(*exams(1))
    both = PatientHistograms.of(
        *(np.concatenate(pair) for pair in zip(exams(0), exams(1), strict=True))
    )
    of_a, of_b = (
        patient_weights(a.num_patients, range(9), 0),
        patient_weights(b.num_patients, range(9), 1),
    )
    total = a.resampled(of_a) + b.resampled(of_b)
    pooled = both.resampled(np.concatenate([of_a, of_b]))  # patients of a have lower numbers
    np.testing.assert_array_equal(total.positives, pooled.positives)
    np.testing.assert_array_equal(total.negatives, pooled.negatives)


def test_only_filled_cells_travel() -> None:
    """Two exams of two labels fill four cells of 4,096; the sum fills those of both hospitals."""
    here = replicate_sums([[-1, 0.5], [2, 0.5]], [[0, 1], [1, 0]], np.ones((2, 2)), [1, 2], 8, 0)
    there = replicate_sums([[-1, 3.0]], [[0, 1]], [[True, True]], [1], 8, 1)
    assert here.counts.shape == (4, 8) and there.counts.shape == (2, 8)
    both = here + there
    assert both.counts.shape == (5, 8)  # absent at -1 is filled in both
    np.testing.assert_array_equal(both.positives, here.positives + there.positives)
    np.testing.assert_array_equal(both.negatives, here.negatives + there.negatives)
    assert both.positives.shape == (8, 2, 1024)
    # of its four cells, absent before present and label by label, this is the third
    np.testing.assert_array_equal(here.positives[:, 0, bin_of(2.0)], here.counts[2])


def test_blocks_and_the_order_of_exams_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = exams()
    whole = replicate_sums(*data, 12, 3)
    monkeypatch.setattr(bootstrap, "BLOCK", 5)
    order = np.random.default_rng(0).permutation(len(data[0]))
    in_blocks = list(PatientHistograms.of(*(part[order] for part in data)).blocks(12, 3))
    assert [len(block.positives) for block in in_blocks] == [5, 5, 2]
    np.testing.assert_array_equal(
        replicate_values(in_blocks, area_under_roc), whole.values(area_under_roc)
    )


def test_weights_have_the_moments_of_their_law() -> None:
    poisson = patient_weights(4000, range(20), 0)
    # 80,000 draws of mean 1 and variance 1: standard errors .0035 and .006
    assert poisson.mean() == pytest.approx(1, abs=0.015)
    assert poisson.var() == pytest.approx(1, abs=0.025)
    assert (patient_weights(50, range(20), 0, "multinomial").sum(0) == 50).all()
    assert not (poisson[:, 0] == poisson[:, 1]).all()
    assert patient_weights(0, range(3), 0, "multinomial").shape == (0, 3)


def test_interval_covers_what_the_delta_method_says() -> None:
    """1,000 positives and 1,000 negatives of AUROC .76: the standard error (Hanley, McNeil)."""
    rng = np.random.default_rng(0)
    target = np.arange(2000)[:, None] < 1000
    scores = rng.normal(0, 1, (2000, 1)) + target
    data = scores, target, np.ones_like(target), np.arange(2000)
    values = replicate_sums(*data, 300, 0).values(area_under_roc)
    auroc = area_under_roc(EvaluationSums.of(*data).positives, EvaluationSums.of(*data).negatives)[
        0
    ]
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (auroc * (1 - auroc) + 999 * (q1 + q2 - 2 * auroc**2)) / 1000**2
    assert values.std() == pytest.approx(variance**0.5, rel=0.15)  # 300 replicates: ± 4 %
    low, high, _ = interval(values)
    assert low[0] < auroc < high[0]


def test_patients_with_many_equal_exams_widen_the_interval() -> None:
    """Nine copies of each exam add no evidence: the interval over patients stays as wide."""
    scores, target, known, _ = exams()
    patient = np.arange(len(scores))
    alone = replicate_sums(scores, target, known, patient, 50, 0)
    copied = replicate_sums(
        *(np.repeat(part, 9, axis=0) for part in (scores, target, known, patient)), 50, 0
    )
    np.testing.assert_allclose(
        copied.values(area_under_roc), alone.values(area_under_roc), atol=1e-12
    )


def test_undefined_replicates_are_counted_and_too_many_make_the_interval_nan() -> None:
    values = np.array(
        [[0.1, np.nan, np.nan], [0.3, 0.5, np.nan], [0.2, np.nan, 1.0], [0.4, 0.7, np.nan]]
    )
    low, high, undefined = interval(values, confidence=1.0)
    assert undefined.tolist() == [0, 2, 3]
    assert low[:2].tolist() == [0.1, 0.5] and high[:2].tolist() == [0.4, 0.7]
    assert np.isnan([low[2], high[2]]).all()


def test_wider_confidence_gives_a_wider_interval() -> None:
    values = np.random.default_rng(0).normal(size=(500, 2))
    widths = [interval(values, c).high - interval(values, c).low for c in (0.5, 0.9, 0.99)]
    assert all((b > a).all() for a, b in pairwise(widths))


def test_macro_replicates_mean_the_same_labels_every_time() -> None:
    scores, target, known, patient = exams()
    statistics = EvaluationSums.of(scores, target, known, patient).statistics
    values = np.array([[0.5, 0.7], [np.nan, 0.9]])
    result = macro_replicates(values, statistics, min_positives=1)
    assert result[0] == pytest.approx(0.6) and np.isnan(result[1])
    assert np.isnan(macro_replicates(values, statistics, min_positives=10**6)).all()


def test_replicates_of_different_number_do_not_add_up() -> None:
    a, b = (replicate_sums(*exams(), r, 0) for r in (1, 2))
    with pytest.raises(InputError, match="same number"):
        a + b
    one_label = BootstrapSums(1, a.cells[:0], a.counts[:0])
    with pytest.raises(InputError, match=r"\(2, 1\) and \(1, 1\) \(labels, replicates\)"):
        a + one_label
    with pytest.raises(InputError, match="num_replicates"):
        replicate_sums(*exams(), 0, 0)
