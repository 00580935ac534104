"""Ridge heads: scikit-learn's on pooled data, plain and balanced."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as ScikitRidge

from concilium.data.dataset import Exams
from concilium.heads.balanced_ridge import BalancedRidge
from concilium.heads.contract import Head
from concilium.heads.ridge import Ridge
from tests.heads.worlds import Parts, dealt, largest_gap, solution, standardised
from tests.worlds import hospital_parts, joined


def masked() -> Parts:
    parts = hospital_parts((60, 25, 90))
    parts["hospital-1"]["train"].known[:, 2] = False  # one hospital does not annotate a label
    return parts


def pooled_train(parts: Parts) -> Exams:
    return joined([own["train"] for own in parts.values()])


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_equals_scikit_learn_on_pooled_data(label: int, balanced: bool) -> None:
    """Targets −1 and 1; balanced, an entry weighs 1 over the known entries of its class."""
    parts, pooled = masked(), pooled_train(masked())
    images = np.asarray(pooled.images, np.float64)
    known = pooled.known[:, label]
    target = 2.0 * pooled.target[known, label] - 1
    counts = np.where(target > 0, (target > 0).sum(), (target < 0).sum())
    penalty = 0.2 if balanced else 20.0
    model = ScikitRidge(alpha=penalty, solver="cholesky")
    model.fit(standardised(images)[known], target, 1 / counts if balanced else None)
    weight = model.coef_ / images.std(0)
    head: Head = BalancedRidge((penalty,)) if balanced else Ridge((penalty,))
    found = solution(parts, head)
    assert np.abs(found.weight[label].numpy() - weight).max() < 1e-10
    bias = model.intercept_ - weight @ images.mean(0)
    assert abs(float(found.bias[label]) - bias) < 1e-10


def test_the_equation_of_balanced_ridge_by_hand() -> None:
    """One feature, −2, 0, 1, 1 with labels 1, 0, 0, 0, at two hospitals: mean 0, variance 1.5.

    D is 1 at the positive and 1/3 at the negatives, so G has Σ D = 2, Σ D x = −2 + 2/3 = −4/3 and
    Σ D x² = 4 + 2/3 = 14/3 (unscaled), r has Σ D t = 0 and Σ D t x = −2 − 2/3 = −8/3. In units of
    the deviation s = √1.5 the penalty 1 stands beside (14/3)/1.5, so (w, b) solve
    (28/9 + 1) w − (4/3)/s b = −(8/3)/s and −(4/3)/s w + 2 b = 0.
    """
    images = np.array([[-2.0], [0.0], [1.0], [1.0]], np.float32)
    target = np.array([[1], [0], [0], [0]], np.float32)
    own = Exams(images, target, np.ones((4, 1), np.bool_), np.arange(4))
    found = solution(dealt(own, np.array([0, 0, 1, 1]), 2), BalancedRidge((1.0,)))
    s = 1.5**0.5
    w = -(8 / 3) / s / (28 / 9 + 1 - 2 * ((2 / 3) / s) ** 2)
    assert float(found.weight[0, 0]) == pytest.approx(w / s, abs=1e-12)
    assert float(found.bias[0]) == pytest.approx((2 / 3) / s * w, abs=1e-12)


def test_with_as_many_negatives_as_positives_the_two_are_one() -> None:
    """n = 30 of each: the balanced penalty λ is ridge's nλ."""
    parts = hospital_parts((60,))
    own = parts["hospital-0"]["train"]
    own.known[:] = True
    own.target[:] = np.random.default_rng(0).permuted(np.tile([0, 1], 30))[:, None]
    balanced, plain = BalancedRidge((0.1,)), Ridge((3.0,))
    assert largest_gap(solution(parts, balanced), solution(parts, plain)) < 1e-12
    own.target[:20] = 0
    assert largest_gap(solution(parts, balanced), solution(parts, plain)) > 0.1


def test_balance_is_the_federations_not_the_hospitals() -> None:
    """All positives of a label at one hospital: local counts would weigh nobody's negatives alike
    and could not weigh the other hospital's at all."""
    parts = hospital_parts((50, 50))
    parts["hospital-1"]["train"].target[:, 0] = 0
    pooled = pooled_train(parts)
    whole = {"all": {"train": pooled, "validation": pooled}}
    head = BalancedRidge((0.1,))
    assert largest_gap(solution(parts, head), solution(whole, head)) < 1e-10


def test_a_rare_finding_is_heard_by_the_balanced_head() -> None:
    """At 5 % the plain head's score stays below 0 for nearly all positives (missed, as a score of 0
    is as probable as not); the balanced one finds most, at most a third of negatives alarmed."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(600, 5)).astype(np.float32)
    target = (np.arange(600) % 20 == 0)[:, None].astype(np.float32)
    images[:, 0] += 1.5 * target[:, 0]
    own = Exams(images, target, np.ones((600, 1), np.bool_), np.arange(600))
    parts = dealt(own, np.arange(600) % 3, 3)
    heads: list[Head] = [Ridge((1.0,)), BalancedRidge((0.01,))]
    found = []
    for head in heads:
        answer = solution(parts, head)
        found.append((images @ answer.weight.numpy().T + answer.bias.numpy() > 0)[:, 0])
    present = target[:, 0] == 1
    assert found[0][present].mean() < 0.1
    assert found[1][present].mean() > 0.6
    assert found[1][~present].mean() < 0.34


def test_a_soft_target_is_part_of_a_positive_and_part_of_a_negative() -> None:
    """y = 0.25 four times is one positive and three negatives of the same image."""
    parts, hard = hospital_parts((40,)), hospital_parts((40,))
    for own, target in ((parts, 0.25), (hard, 0.0)):
        train = own["hospital-0"]["train"]
        images = np.asarray(train.images).copy()
        images[:4] = images[0]
        train.known[:4] = True
        train.target[:4] = target
        own["hospital-0"]["train"] = Exams(images, train.target, train.known, train.patient)
    hard["hospital-0"]["train"].target[0] = 1.0
    for head in (Ridge((2.0,)), BalancedRidge((0.1,))):
        assert largest_gap(solution(parts, head), solution(hard, head)) < 1e-10


@pytest.mark.parametrize("balanced", [False, True])
def test_the_penalty_is_chosen_by_the_summed_validation_error(balanced: bool) -> None:
    parts = masked()
    penalties = (0.3, 0.01, 100.0) if balanced else (30.0, 0.1, 10_000.0)  # in no order
    found = solution(parts, BalancedRidge(penalties) if balanced else Ridge(penalties))
    errors = []
    counts = pooled_train(parts)
    positives = (counts.target * counts.known).sum(0)
    negatives = counts.known.sum(0) - positives
    validation = joined([own["validation"] for own in parts.values()])
    for penalty in sorted(penalties, reverse=True):
        one = solution(parts, BalancedRidge((penalty,)) if balanced else Ridge((penalty,)))
        score = np.asarray(validation.images) @ one.weight.numpy().T + one.bias.numpy()
        error = (score - (2 * validation.target - 1)) ** 2
        if balanced:
            error = error / np.where(validation.target == 1, positives, negatives)
        errors.append(error[validation.known].sum())
    np.testing.assert_allclose(found.report["held_out_loss"], errors, rtol=1e-6)  # type: ignore[arg-type]
    assert found.report["penalty"] == sorted(penalties, reverse=True)[int(np.argmin(errors))]
