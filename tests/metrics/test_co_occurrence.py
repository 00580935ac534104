"""False coupling, label sets, phi gap and missed findings, each by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_alert_budget, at_specificity
from concilium.metrics.false_coupling import FalseCoupling, false_coupling_matrix
from concilium.metrics.label_set_recall import (
    LabelSetRecall,
    erasure,
    forgetting,
    pair_recall,
    set_recall,
)
from concilium.metrics.missed_findings import MissedFindings, exams_with_a_miss
from concilium.metrics.missed_second_finding import MissedSecondFinding, missed_second_matrix
from concilium.metrics.phi_gap import (
    PhiGap,
    phi_difference,
    predicted_phi,
    total_phi_gap,
)

THRESHOLDS = np.array([0.0, 0.3, -0.5])
LABEL_SETS = ((0, 1), (0, 1, 2))
PAIRS = [(a, b) for a in range(3) for b in range(3) if a != b]


def exams(num_exams: int = 500) -> tuple[np.ndarray, ...]:
    """Three labels that go together, with gaps in what is known."""
    rng = np.random.default_rng(0)
    common = rng.random((num_exams, 1)) < 0.3
    target = (rng.random((num_exams, 3)) < [0.4, 0.3, 0.2]) | (
        common & (rng.random((num_exams, 3)) < 0.6)
    )
    scores = rng.normal(-0.5, 1, (num_exams, 3)) + target + 0.5 * common
    return scores, target, rng.random((num_exams, 3)) < 0.85, np.arange(num_exams)


@pytest.fixture
def sums() -> EvaluationSums:
    return EvaluationSums.of(*exams(), THRESHOLDS, LABEL_SETS)


def parts() -> tuple[np.ndarray, ...]:
    """Present, absent and alerted entries, all of them known."""
    scores, target, known, _ = exams()
    return target & known, ~target & known, (scores >= THRESHOLDS) & known


def test_false_coupling_by_brute_force(sums: EvaluationSums) -> None:
    present, absent, alert = parts()
    matrix = false_coupling_matrix(sums)
    for a, b in PAIRS:
        cases = absent[:, a] & present[:, b]
        assert matrix[a, b] == pytest.approx(alert[cases, a].mean())
    assert np.isnan(np.diagonal(matrix)).all()
    np.testing.assert_allclose(FalseCoupling()(sums), np.nanmean(matrix, axis=1))
    assert not (matrix == matrix.T)[0, 1]  # P(alert a | b) is not P(alert b | a)


def test_false_coupling_of_independent_scores_is_one_minus_specificity() -> None:
    """The ideal: scores that know nothing of the other label, at 90 % specificity."""
    rng = np.random.default_rng(0)
    target = rng.random((40_000, 2)) < 0.3
    target[:, 1] |= target[:, 0]
    scores = rng.normal(size=target.shape) + target
    data = scores, target, np.ones_like(target), np.arange(40_000)
    at = EvaluationSums.of(*data, at_specificity(EvaluationSums.of(*data), 0.9))
    # the second label is present wherever the first is: FC(1|0) has no case
    assert FalseCoupling()(at)[0] == pytest.approx(0.1, abs=0.01)
    assert np.isnan(FalseCoupling()(at)[1])


def test_false_coupling_finds_a_model_that_copies_one_label_to_the_other() -> None:
    rng = np.random.default_rng(0)
    target = rng.random((5000, 2)) < 0.2
    scores = np.repeat(rng.normal(size=(5000, 1)) + 6 * target[:, [0]], 2, axis=1)
    data = scores, target, np.ones_like(target), np.arange(5000)
    # 20 % of the exams have label 0: at 90 % specificity half of them are alerted as label 1
    at = EvaluationSums.of(*data, at_specificity(EvaluationSums.of(*data), 0.9))
    assert false_coupling_matrix(at)[1, 0] == pytest.approx(0.5, abs=0.05)


def test_too_few_cases_are_undefined(sums: EvaluationSums) -> None:
    assert np.isnan(FalseCoupling(min_cases=10**6)(sums)).all()


def test_recall_of_pairs_and_sets_by_brute_force(sums: EvaluationSums) -> None:
    present, _, alert = parts()
    found = present & alert
    matrix = pair_recall(sums)
    for a, b in PAIRS:
        both = present[:, [a, b]].all(1)
        assert matrix[a, b] == pytest.approx(found[both][:, [a, b]].all(1).mean())
    for recall, labels in zip(set_recall(sums), LABEL_SETS, strict=True):
        has = present[:, [*labels]].all(1)
        assert recall == pytest.approx(found[has][:, [*labels]].all(1).mean())
    assert set_recall(sums)[0] == matrix[0, 1] == matrix[1, 0]
    pairs = [present[:, [0, b]].all(1) for b in (1, 2)]
    hits = sum(found[:, [0, b]].all(1).sum() for b in (1, 2))
    assert LabelSetRecall()(sums)[0] == pytest.approx(hits / sum(pair.sum() for pair in pairs))


def test_a_set_that_nobody_has_or_without_a_threshold_is_nan() -> None:
    scores, target, known, patient = exams()
    target = target.copy()
    target[:, 1] &= ~target[:, 0]
    limits = [0.0, 0.0, np.nan]
    sums = EvaluationSums.of(scores, target, known, patient, limits, ((0, 1), (0, 2), (0,)))
    assert np.isnan(set_recall(sums)).tolist() == [True, True, False]


def test_erasure_and_forgetting() -> None:
    np.testing.assert_allclose(
        erasure([0.2, 0.5, 0.6, 0.1], [0.4, 0.5, 0.5, 0]), [0.5, 0, -0.2, np.nan]
    )
    history = [[0.1, np.nan], [0.6, 0.5], [0.4, 0.5], [0.7, np.nan]]
    np.testing.assert_allclose(
        forgetting(history), [[np.nan] * 2, [-0.5, np.nan], [0.2, 0.0], [-0.1, np.nan]]
    )


def test_missed_second_finding_by_brute_force(sums: EvaluationSums) -> None:
    present, _, alert = parts()
    matrix = missed_second_matrix(sums)
    for a, b in PAIRS:
        cases = present[:, a] & alert[:, a] & present[:, b]
        assert matrix[a, b] == pytest.approx(1 - alert[cases, b].mean())
    cases = present[:, [0]] & alert[:, [0]] & present[:, 1:]
    expected = (cases & ~alert[:, 1:]).sum() / cases.sum()
    assert MissedSecondFinding()(sums)[0] == pytest.approx(expected)


@pytest.mark.parametrize("shared", ["specificity", "score"])
def test_missed_findings_at_a_matched_budget(shared: str, sums: EvaluationSums) -> None:
    scores, _, known, _ = exams()
    present, _, _ = parts()
    limits = at_alert_budget(sums, 60, shared)
    missed = (present & (scores < limits)).sum(0)
    expected = 1000 * missed / known.sum(0)
    np.testing.assert_allclose(MissedFindings(60, shared)(sums), expected)
    nothing = MissedFindings(0, shared)(sums)
    np.testing.assert_allclose(nothing, 1000 * sums.statistics.prevalence)
    assert (MissedFindings(10_000, shared)(sums) == 0).all()


def test_a_label_of_positives_alone_is_missed_at_a_shared_specificity() -> None:
    sums = EvaluationSums.of(np.zeros((10, 1)), np.ones((10, 1)), np.ones((10, 1)), range(10))
    assert MissedFindings(50)(sums).tolist() == [1000]


def test_exams_with_a_miss(sums: EvaluationSums) -> None:
    present, _, alert = parts()
    missed = (present & ~alert).any(1)
    assert exams_with_a_miss(sums) == pytest.approx(missed.sum() / present.any(1).sum())
    assert np.isnan(exams_with_a_miss(EvaluationSums.of(*exams())))
    assert np.isnan(exams_with_a_miss(EvaluationSums.zero(3, THRESHOLDS)))


def test_predicted_phi_is_that_of_labels_drawn_from_the_model() -> None:
    """Scores that vary together over images: labels drawn from them correlate as predicted."""
    rng = np.random.default_rng(0)
    scores = rng.normal(-1, 1, (50_000, 1)) + rng.normal(0, 0.5, (50_000, 3))
    drawn = rng.random(scores.shape) < 1 / (1 + np.exp(-scores))
    sums = EvaluationSums.of(scores, drawn, np.ones_like(drawn), np.arange(len(drawn)))
    correlation = np.corrcoef(drawn.T.astype(float))
    for a, b in PAIRS:
        # the standard error of a correlation over 50,000 images is .0045
        assert predicted_phi(sums)[a, b] == pytest.approx(correlation[a, b], abs=0.018)
    assert total_phi_gap(sums) < 0.03
    assert correlation[0, 1] > 0.1  # products of marginals would say 0


def test_phi_gap_by_brute_force_over_what_is_known(sums: EvaluationSums) -> None:
    scores, target, known, _ = exams()
    probability = 1 / (1 + np.exp(-scores))
    gap = np.zeros((3, 3))
    for a, b in PAIRS:
        both = known[:, a] & known[:, b]
        p, q = probability[both, a], probability[both, b]
        spread = p.mean() * (1 - p.mean()) * q.mean() * (1 - q.mean())
        predicted = ((p * q).mean() - p.mean() * q.mean()) / np.sqrt(spread)
        gap[a, b] = predicted - np.corrcoef(target[both, a], target[both, b])[0, 1]
        assert phi_difference(sums)[a, b] == pytest.approx(gap[a, b], abs=1e-4)
    np.testing.assert_allclose(PhiGap()(sums), np.linalg.norm(gap, axis=1), atol=1e-4)
    assert total_phi_gap(sums) == pytest.approx(np.linalg.norm(gap), abs=1e-4)


def test_phi_of_a_label_that_never_varies_is_undefined() -> None:
    scores, target, known, patient = exams()
    target = target.copy()
    target[:, 2] = False
    sums = EvaluationSums.of(scores, target, known, patient)
    assert np.isnan(PhiGap()(sums)).tolist() == [False, False, True]
    assert np.isnan(total_phi_gap(EvaluationSums.of(scores, target & False, known, patient)))
