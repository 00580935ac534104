"""The decoupled test: the weights of its equation by hand, and what they do to what is measured."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from concilium.evaluation.decoupling import (
    MAX_WEIGHT,
    Decoupled,
    DecoupledSums,
    LabelSetCounts,
    LabelSetWeights,
)
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.auroc import Auroc, area_under_roc
from concilium.metrics.average_precision import AveragePrecision, mean_precision
from concilium.metrics.false_coupling import FalseCoupling, mean_coupling
from concilium.studies.decoupled import describe_decoupled

Bools = npt.NDArray[np.bool_]
NEVER = np.full(3, np.nan)


def everything(target: Bools) -> Bools:
    return np.ones_like(target)


def labels(num: int = 400, seed: int = 0, together: float = 0.0) -> Bools:
    """Three labels of 30, 30 and 20 %; the second copies the first on this share of exams."""
    generator = np.random.default_rng(seed)
    target = generator.random((num, 3)) < [0.3, 0.3, 0.2]
    copied = generator.random(num) < together
    target[copied, 1] = target[copied, 0]
    return target


def weighed(
    scores: npt.NDArray[np.float64],
    target: Bools,
    known: Bools | None = None,
    thresholds: npt.NDArray[np.float64] = NEVER,
) -> Decoupled:
    known = everything(target) if known is None else known
    counts = LabelSetCounts.of(target, known)
    weights = counts.weights()
    sums = DecoupledSums.of(scores, target, known, weights, thresholds)
    return Decoupled(counts, weights, sums)


def test_weights_are_the_product_of_the_shares_over_the_share_of_the_set_by_hand() -> None:
    """Ten exams: both labels on 4, the first alone on 1, none on 5. p = (1/2, 2/5).

    w(both) = ½ · ⅖ / 0.4 = ½;  w(first alone) = ½ · ⅗ / 0.1 = 3;  w(none) = ½ · ⅗ / 0.5 = ⅗.
    Covered: 4 · ½ + 1 · 3 + 5 · ⅗ = 8 of 10; the second alone, ½ · ⅖ = 0.2, is on no exam.
    Effective: 8² / (4 · ¼ + 9 + 5 · 9/25) = 64 / 11.8.
    """
    target = np.array([[1, 1]] * 4 + [[1, 0]] + [[0, 0]] * 5, np.bool_)
    found = weighed(np.zeros((10, 2)), target, thresholds=NEVER[:2])
    expected = [0.5] * 4 + [3.0] + [0.6] * 5
    weight = found.weights.of_exams(target, everything(target))
    np.testing.assert_allclose(weight, expected, atol=1e-6)
    assert found.covered == pytest.approx(0.8)
    assert found.num_effective == pytest.approx(64 / 11.8, abs=1e-4)
    # with the first label: weights ½ four times and 3: (2 + 3)² / (1 + 9)
    np.testing.assert_allclose(found.effective_positives, [2.5, 4.0], atol=1e-4)
    assert found.num_capped == 0


def test_the_equation_in_a_loop_over_exams() -> None:
    target = labels(together=0.6)
    weight = LabelSetCounts.of(target, everything(target)).weights(np.inf)
    share = Counter(map(tuple, target.tolist()))
    for row, own in zip(target, weight.of_exams(target, everything(target)), strict=True):
        p = np.prod([target[:, i].mean() if row[i] else 1 - target[:, i].mean() for i in range(3)])
        assert own == pytest.approx(p / (share[tuple(row.tolist())] / len(target)), abs=1e-6)


def test_a_product_of_shares_gets_weights_of_exactly_one() -> None:
    """Half, a quarter and half: every combination as often as the product says."""
    grid = np.array([[a, b < 1, c] for a in (0, 1) for b in range(4) for c in (0, 1)], np.bool_)
    counts = LabelSetCounts.of(grid, everything(grid))
    assert (counts.weights().weight == 1).all()
    scores = np.random.default_rng(0).normal(size=grid.shape)
    found = weighed(scores, grid)
    assert found.num_effective == len(grid) and found.covered == 1
    assert found.mean_phi(weighed=True) == pytest.approx(0, abs=1e-8)


def test_weights_of_independent_labels_are_one_to_sampling_error() -> None:
    """The rarest of 8 sets has 0.3 · 0.3 · 0.2 of 20,000 exams, 360 ± 19: 3.3 deviations, 0.17."""
    target = labels(20_000)
    weight = LabelSetCounts.of(target, everything(target)).weights().weight
    assert abs(weight - 1).max() < 0.17
    coupled = labels(20_000, together=0.6)
    assert abs(LabelSetCounts.of(coupled, everything(coupled)).weights().weight - 1).max() > 1


def test_the_weighed_labels_are_independent_and_as_frequent_as_before() -> None:
    target = labels(5000, together=0.7)
    found = weighed(np.zeros(target.shape), target)
    assert found.mean_phi(weighed=False) > 0.35
    assert found.mean_phi(weighed=True) < 1e-6
    weight = found.weights.of_exams(target, everything(target))
    np.testing.assert_allclose(weight @ target / weight.sum(), target.mean(0), atol=1e-6)


def test_with_equal_weights_everything_is_that_of_the_natural_test() -> None:
    generator, target = np.random.default_rng(0), labels(together=0.5)
    scores = generator.normal(size=target.shape) + target
    thresholds = np.array([0.5, 1.0, np.nan])
    patient = np.arange(len(target))
    natural = EvaluationSums.of(scores, target, everything(target), patient, thresholds)
    counts = LabelSetCounts.of(target, everything(target))
    equal = LabelSetWeights(counts.sets, np.ones(len(counts.sets)))
    sums = DecoupledSums.of(scores, target, everything(target), equal, thresholds)
    np.testing.assert_array_equal(sums.positives, natural.positives)
    np.testing.assert_array_equal(sums.negatives, natural.negatives)
    np.testing.assert_array_equal(sums.false_alerts_beside, natural.alerts.false_alerts_beside)
    found = describe_decoupled(Decoupled(counts, equal, sums), natural, 10)
    for name, metric in (
        ("auroc", Auroc()),
        ("average_precision", AveragePrecision()),
        ("false_coupling", FalseCoupling()),
    ):
        np.testing.assert_allclose(found["metrics"][name], metric(natural), err_msg=name)


def test_a_model_that_raises_a_finding_for_its_companion_gains_in_the_natural_test_alone() -> None:
    """Scores of the second label that see only the first: AUROC well above ½ on these exams, ½
    where the two are independent; and such alerts beside the first label stay false.
    """
    generator, target = np.random.default_rng(0), labels(4000, together=0.6)
    scores = generator.normal(size=target.shape)
    scores[:, 1] += 3 * target[:, 0]
    thresholds = np.array([np.nan, 1.5, np.nan])
    patient = np.arange(len(target))
    natural = EvaluationSums.of(scores, target, everything(target), patient, thresholds)
    found = weighed(scores, target, thresholds=thresholds)
    assert Auroc()(natural)[1] > 0.72
    own = describe_decoupled(found, natural, 10)
    assert own["metrics"]["auroc"][1] == pytest.approx(0.5, abs=0.03)
    assert own["macro"]["auroc"]["num_labels"] == 3
    assert own["metrics"]["average_precision"][1] == pytest.approx(target[:, 1].mean(), abs=0.04)
    # beside the first, its companion absent, 93 % alert; beside the third 0.3 · 0.93 + 0.7 · 0.07
    expected = (0.93 + (0.3 * 0.93 + 0.7 * 0.07)) / 2
    assert own["metrics"]["false_coupling"][1] == pytest.approx(expected, abs=0.04)
    assert np.isnan(own["metrics"]["false_coupling"][[0, 2]]).all()


def test_an_exam_with_an_unknown_label_has_no_weight_and_is_counted() -> None:
    target, known = labels(200, together=0.5), np.ones((200, 3), np.bool_)
    known[:30, 2] = False
    scores = np.random.default_rng(0).normal(size=target.shape)
    found, others = weighed(scores, target, known), weighed(scores[30:], target[30:])
    assert (found.counts.num_left_out, found.counts.num_exams) == (30, 170)
    assert (found.weights.of_exams(target, known)[:30] == 0).all()
    np.testing.assert_array_equal(found.sums.positives, others.sums.positives)
    np.testing.assert_array_equal(found.sums.negatives, others.sums.negatives)


def test_hospitals_add_up_to_the_pooled_exams_in_any_order() -> None:
    """Weights come from the counts of all: those of one hospital alone would be others."""
    target, known = labels(300, together=0.6), np.random.default_rng(1).random((300, 3)) < 0.97
    scores = np.random.default_rng(0).normal(size=target.shape)
    parts = [np.arange(0, 110), np.arange(110, 130), np.arange(130, 300), np.arange(0)]
    whole = weighed(scores, target, known, np.zeros(3))
    for order in (parts, parts[::-1]):
        counts = [LabelSetCounts.of(target[own], known[own]) for own in order]
        summed = counts[0] + counts[1] + counts[2] + counts[3]
        np.testing.assert_array_equal(summed.sets, whole.counts.sets)
        np.testing.assert_array_equal(summed.counts, whole.counts.counts)
        assert summed.num_left_out == whole.counts.num_left_out
        weights = summed.weights()
        sums = [
            DecoupledSums.of(scores[own], target[own], known[own], weights, np.zeros(3))
            for own in order
        ]
        total = sums[0] + sums[1] + sums[2] + sums[3]
        for name, value in vars(whole.sums).items():
            np.testing.assert_array_equal(getattr(total, name), value, err_msg=name)


def test_permuting_labels_permutes_what_is_found() -> None:
    target, order = labels(300, together=0.6), [2, 0, 1]
    scores = np.random.default_rng(0).normal(size=target.shape)
    limits = np.array([0.0, 0.5, 1.0])
    first = weighed(scores, target, thresholds=limits)
    other = weighed(scores[:, order], target[:, order], thresholds=limits[order])
    np.testing.assert_allclose(other.sums.positives, first.sums.positives[order], atol=1e-4)
    beside = first.sums.false_alerts_beside[np.ix_(order, order)]
    np.testing.assert_allclose(other.sums.false_alerts_beside, beside, atol=1e-4)
    assert other.num_effective == pytest.approx(first.num_effective, rel=1e-5)


def test_no_exam_counts_for_more_than_ten() -> None:
    """Of 400 exams 190 have both labels, 190 none, one the first alone, 19 the second alone:
    w(first alone) = 400 · (191/400) · (1 − 209/400) = 91.2, capped.
    """
    sets = [[1, 1]] * 190 + [[0, 0]] * 190 + [[1, 0]] + [[0, 1]] * 19
    target = np.array(sets, np.bool_)
    found = weighed(np.zeros(target.shape), target, thresholds=NEVER[:2])
    assert found.counts.weights(np.inf).weight.max() == pytest.approx(91.2, abs=0.1)
    assert found.weights.weight.max() == MAX_WEIGHT
    assert found.num_capped == 1
    assert found.covered == pytest.approx(1)


def test_histograms_keep_each_labels_prevalence_where_a_set_is_on_no_exam() -> None:
    """Unscaled, the weights of the first example make the first label's share 5 of 8, not 5 of 10,
    and average precision moves with it.
    """
    target = np.array([[1, 1]] * 4 + [[1, 0]] + [[0, 0]] * 5, np.bool_)
    scores = np.random.default_rng(0).normal(size=target.shape)
    found = weighed(scores, target, thresholds=NEVER[:2])
    positives, negatives = found.histograms()
    np.testing.assert_allclose(positives.sum(1), [5, 4])
    np.testing.assert_allclose(negatives.sum(1), [5, 6])
    sums = found.sums
    assert sums.positives.sum(1)[0] == pytest.approx(5)
    assert sums.negatives.sum(1)[0] == pytest.approx(3)
    np.testing.assert_allclose(
        area_under_roc(positives, negatives), area_under_roc(sums.positives, sums.negatives)
    )
    assert (
        mean_precision(positives, negatives)[0] < mean_precision(sums.positives, sums.negatives)[0]
    )


def test_what_nobody_has_is_undefined_and_never_0() -> None:
    nothing = np.zeros((0, 3))
    natural = EvaluationSums.zero(3)
    found = describe_decoupled(weighed(nothing, nothing > 0), natural, 10)
    assert (found["exams"], found["left_out"], found["capped"]) == (0, 0, 0)
    for name in ("effective_exams", "covered"):
        assert np.isnan(found[name])
    assert np.isnan([found["phi"]["before"], found["phi"]["left"]]).all()
    assert all(np.isnan(own).all() for own in found["metrics"].values())
    always = np.ones((20, 3), np.bool_)
    one = weighed(np.zeros((20, 3)), always)
    assert np.isnan(one.mean_phi(weighed=True)) and (one.weights.weight == 1).all()
    assert np.isnan(area_under_roc(*one.histograms())).all()


def test_the_mean_of_false_coupling_leaves_out_what_is_undefined() -> None:
    matrix = np.array([[np.nan, 0.2, 0.4], [np.nan, np.nan, 0.3], [np.nan] * 3])
    np.testing.assert_allclose(mean_coupling(matrix), [0.3, 0.3, np.nan])
