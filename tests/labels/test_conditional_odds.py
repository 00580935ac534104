"""Log-odds of a label given the others: scikit-learn, an Ising model, and what must stay finite."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from concilium.foundation.errors import InputError
from concilium.labels.conditional_odds import (
    _Patterns,
    conditional_log_odds,
    filled,
    prevalence_of,
)


def labels(num: int, num_labels: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels with a common cause, each rarer than the one before; a fifth is unknown."""
    generator = torch.Generator().manual_seed(seed)
    cause = torch.randn(num, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(num, num_labels, generator=generator, dtype=torch.float64)
    target = (cause + noise > torch.linspace(0, 1.5, num_labels)).double()
    return target, torch.rand(num, num_labels, generator=generator) < 0.8


def by_scikit_learn(target: Tensor, known: Tensor, label: int, ridge: float) -> np.ndarray:
    """J_l without the diagonal, then θ_l: the same regression, the half exams as two more rows."""
    rows = known[:, label]
    others = [m for m in range(target.shape[1]) if m != label]
    design = filled(target, known, prevalence_of(target, known))[:, others][rows].numpy()
    design = np.concatenate([design, np.zeros((2, len(others)))])
    present = np.append(target[rows, label].numpy(), [0.0, 1.0])
    weight = np.append(np.ones(int(rows.sum())), [0.5, 0.5])
    model = LogisticRegression(C=1 / ridge, tol=1e-10, solver="newton-cholesky")
    model.fit(design, present, weight)
    return np.append(model.coef_[0], model.intercept_[0])


@pytest.mark.parametrize("ridge", [0.5, 10.0])
def test_each_label_is_scikit_learns_regression_on_the_others(ridge: float) -> None:
    target, known = labels(300)
    bias, coupling = conditional_log_odds(target, known, ridge)
    for label in range(4):
        ours = np.append(np.delete(coupling[label].numpy(), label), float(bias[label]))
        expected = by_scikit_learn(target, known, label, ridge)
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_of_two_labels_it_is_the_table_of_their_four_sets() -> None:
    """60 neither, 20 l alone, 10 m alone, 10 both: log-odds of l: −log 3 alone, 0 beside m.

    The coupling is their difference, log 3; the ridge is next to none, the half exams move little.
    """
    sets = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    target = sets.repeat_interleave(torch.tensor([600, 200, 100, 100]), 0)
    bias, coupling = conditional_log_odds(target, torch.ones_like(target).bool(), 1e-6)
    assert bias.tolist() == pytest.approx([-math.log(3), -math.log(6)], abs=0.01)
    assert coupling.flatten().tolist() == pytest.approx([0, math.log(3), math.log(3), 0], abs=0.01)


def test_a_large_ridge_leaves_the_log_odds_of_the_prevalence() -> None:
    """Half an exam with and half without: log (n⁺ + ½)/(n⁻ + ½), n over known exams."""
    target, known = labels(200)
    bias, coupling = conditional_log_odds(target, known, 1e12)
    positives = (target * known).sum(0)
    negatives = known.sum(0) - positives
    torch.testing.assert_close(
        bias, ((positives + 0.5) / (negatives + 0.5)).log(), atol=1e-6, rtol=0
    )
    assert coupling.abs().max() < 1e-6


def test_an_ising_model_is_found_again() -> None:
    """All 8 label sets of three labels, each as often as the model has it in 20,000 exams."""
    bias = torch.tensor([-1.0, -1.5, -0.5], dtype=torch.float64)
    coupling = torch.tensor([[0.0, 1.2, 0.0], [1.2, 0.0, -0.8], [0.0, -0.8, 0.0]]).double()
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    energy = states @ bias + ((states @ coupling) * states).sum(1) / 2
    target = states.repeat_interleave((20_000 * energy.softmax(0)).round().long(), 0)
    found, symmetric = conditional_log_odds(target, torch.ones_like(target).bool(), 1e-3)
    torch.testing.assert_close(found, bias, atol=0.01, rtol=0)
    torch.testing.assert_close(symmetric, coupling, atol=0.01, rtol=0)


def test_steps_are_newtons_on_the_printed_objective() -> None:
    """What decides whether a step is taken is what the steps minimise, the ridge in it.

    The objective exam by exam, its slope and curvature by automatic differentiation, away from the
    minimum; on the way there from 0 both fall, so that what is found would not tell.
    """
    target, known = labels(30, num_labels=3)
    patterns, ridge, label = _Patterns.of(target, known), 3.0, 1
    whole = filled(target, known, prevalence_of(target, known))
    solution = torch.linspace(-1, 2, 12, dtype=torch.float64).reshape(3, 4)
    solution[[0, 1, 2], [0, 1, 2]] = 0.0

    def printed(own: Tensor) -> Tensor:
        """Of label 1, of J_10, J_12 and θ_1."""
        score = whole[:, [0, 2]] @ own[:2] + own[2]
        fit = torch.nn.functional.softplus(score) - target[:, label] * score
        half = torch.nn.functional.softplus(own[2]) - own[2] / 2
        return fit[known[:, label]].sum() + half + ridge / 2 * own[:2].square().sum()

    own = solution[label, [0, 2, 3]]
    torch.testing.assert_close(patterns.objective(solution, ridge)[label], printed(own))
    slope = torch.autograd.functional.jacobian(printed, own)
    curvature = torch.autograd.functional.hessian(printed, own)
    step = patterns.newton_step(solution, ridge)[label]
    torch.testing.assert_close(step[[0, 2, 3]], torch.linalg.solve(curvature, slope))
    assert step[label] == 0


def test_unknown_entries_have_no_say() -> None:
    target, known = labels(100)
    expected = conditional_log_odds(target, known)
    for stands_there in (1.0, float("nan")):
        got = conditional_log_odds(target.masked_fill(~known, stands_there), known)
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_exams_on_which_a_label_is_unknown_do_not_fit_it() -> None:
    """Label 0 unknown in more exams: its own regression is as without them; others' need not."""
    target, known = labels(300)
    known[:100, 0] = False
    bias, coupling = conditional_log_odds(target, known)
    prevalence = prevalence_of(target, known)
    rest = filled(target, known, prevalence)[100:]
    rest_known = known[100:].clone()
    rest_known[:, 1:] = True  # the others as they were filled, so that only label 0 is masked
    alone, beside = conditional_log_odds(rest, rest_known)
    torch.testing.assert_close(bias[0], alone[0])
    torch.testing.assert_close(coupling[0], beside[0])


def test_the_order_of_exams_does_not_matter_to_the_last_bit() -> None:
    target, known = labels(150)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(1))
    got = conditional_log_odds(target[order], known[order])
    expected = conditional_log_odds(target, known)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_permuting_labels_permutes_bias_and_coupling() -> None:
    target, known = labels(150)
    order = torch.tensor([2, 0, 3, 1])
    bias, coupling = conditional_log_odds(target, known)
    other_bias, other_coupling = conditional_log_odds(target[:, order], known[:, order])
    torch.testing.assert_close(other_bias, bias[order])
    torch.testing.assert_close(other_coupling, coupling[order][:, order])


def test_separable_labels_and_those_of_one_class_stay_finite() -> None:
    """Label 1 repeats label 0, 2 is always present, 3 never, 4 never known."""
    target, _ = labels(500, num_labels=5)
    known = torch.ones(500, 5, dtype=torch.bool)
    target[:, 1], target[:, 2], target[:, 3], known[:, 4] = target[:, 0], 1.0, 0.0, False
    bias, coupling = conditional_log_odds(target, known)
    assert bias.isfinite().all()
    assert coupling.isfinite().all()
    assert 5 < coupling[0, 1] < 20
    assert bias[2] > 3
    assert bias[3] < -5
    assert bias[4] == 0
    assert (coupling[4] == 0).all()
    assert (coupling[:, 4] == 0).all()
    assert (coupling.diagonal() == 0).all()


def test_it_is_a_minimum_also_where_plain_newton_overshoots() -> None:
    """One exam in 2,000 with a label, and hardly a ridge: the gradient is 0 all the same."""
    target = torch.zeros(2000, 3, dtype=torch.float64)
    target[0], target[1:40, 1], target[30:500, 2] = 1.0, 1.0, 1.0
    bias, coupling = conditional_log_odds(target, torch.ones_like(target).bool(), 1e-4)
    score = bias + target @ coupling.T
    left = (score.sigmoid() - target).T @ target + 1e-4 * coupling
    assert left.fill_diagonal_(0).abs().max() < 1e-6
    assert ((score.sigmoid() - target).sum(0) + bias.sigmoid() - 0.5).abs().max() < 1e-6


def test_no_exam_at_all_says_nothing() -> None:
    bias, coupling = conditional_log_odds(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool))
    assert (bias == 0).all()
    assert (coupling == 0).all()


def test_a_ridge_is_needed() -> None:
    with pytest.raises(InputError, match="ridge=0 must be > 0"):
        conditional_log_odds(*labels(10), ridge=0)
