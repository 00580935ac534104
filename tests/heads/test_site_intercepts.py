"""Newton with an intercept for each hospital: logistic regression with a column for each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import brentq

from concilium.federation.sharing import travelling
from concilium.heads._logistic import HessianRequest, LossRequest, Place, own_offsets
from concilium.heads._standardisation import MomentsRequest, Scale
from concilium.heads._triangles import full
from concilium.heads.newton import Newton
from concilium.orchestration.phases import asking
from tests.heads.worlds import Parts, dealt, largest_gap, solution, standardised
from tests.worlds import exams, hospital_parts, joined, linear_network, runtime

Array = npt.NDArray[np.float64]
EXACT = Newton(penalties=(2.0,), tolerance=1e-11, site_intercepts=True)


def pooled_newton(design: Array, target: Array, ridge: Array) -> Array:
    """Logistic regression by plain Newton steps, 50 of them."""
    found = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ found))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        found -= np.linalg.solve(hessian, design.T @ (p - target) + ridge * found)
    return found


def with_site_columns(parts: Parts, label: int, penalty: float) -> tuple[Array, float]:
    """Weight on standardised features and shared bias of one label, from pooled exams.

    Sites without a positive or without a negative have no say on the weight, but on the bias.
    """
    trains = [own["train"] for own in parts.values()]
    images = standardised(np.asarray(joined(trains).images, np.float64))
    target = joined(trains).target[:, label].astype(float)
    known = joined(trains).known[:, label]
    site = np.repeat(np.arange(len(trains)), [len(t.target) for t in trains])
    mixed = [s for s in range(len(trains)) if 0 < target[known & (site == s)].mean() < 1]
    rows = known & np.isin(site, mixed)
    columns = (site[rows, None] == np.array(mixed)).astype(float)
    ridge = np.r_[np.full(images.shape[1], penalty), np.zeros(len(mixed))]
    weight = pooled_newton(np.c_[images[rows], columns], target[rows], ridge)[: images.shape[1]]
    score = images[known] @ weight

    def excess(bias: float) -> float:
        return float((1 / (1 + np.exp(-score - bias)) - target[known]).sum())

    return weight, float(brentq(excess, -30, 30, xtol=1e-14))


def skewed() -> Parts:
    """Three hospitals of other prevalences; the third knows label 1 as absent only."""
    parts = hospital_parts((60, 40, 50))
    parts["hospital-1"]["train"].target[::2, 0] = 1
    parts["hospital-2"]["train"].target[:, 1] = 0
    return parts


@pytest.mark.parametrize("label", [0, 1, 2])
def test_equals_pooled_logistic_regression_with_a_column_for_each_hospital(label: int) -> None:
    parts = skewed()
    found = solution(parts, EXACT)
    images = np.asarray(joined([own["train"] for own in parts.values()]).images, np.float64)
    weight, bias = with_site_columns(parts, label, 2.0)
    plain = weight / images.std(0)
    assert np.abs(found.weight[label].numpy() - plain).max() < 1e-8
    assert abs(float(found.bias[label]) - (bias - plain @ images.mean(0))) < 1e-8


def test_with_one_hospital_it_is_plain_newton() -> None:
    parts = hospital_parts((80,))
    plain = Newton(penalties=(2.0,), tolerance=1e-11)
    assert largest_gap(solution(parts, EXACT), solution(parts, plain)) < 1e-8
    more = skewed()
    assert largest_gap(solution(more, EXACT), solution(more, plain)) > 0.01


def test_the_bias_is_shared_and_the_penalty_is_chosen_with_it() -> None:
    """Probabilities of all known training exams add up to the positives: b is the best one."""
    parts = skewed()
    head = Newton(penalties=(0.1, 1.0, 1000.0), site_intercepts=True)
    found = solution(parts, head)
    pooled = joined([own["train"] for own in parts.values()])
    score = np.asarray(pooled.images, np.float64) @ found.weight.numpy().T + found.bias.numpy()
    expected = (pooled.known / (1 + np.exp(-score))).sum(0)
    np.testing.assert_allclose(expected, (pooled.target * pooled.known).sum(0), rtol=1e-6)
    validation = joined([own["validation"] for own in parts.values()])
    score = np.asarray(validation.images) @ found.weight.numpy().T + found.bias.numpy()
    loss = np.logaddexp(0, score) - validation.target * score
    held_out = found.report["held_out_loss"]
    assert isinstance(held_out, list)
    assert min(held_out) == pytest.approx(loss[validation.known].sum(), rel=1e-6)


def test_a_label_that_no_hospital_has_both_of_keeps_its_row() -> None:
    """Label 1 is always present at one hospital and never at the other: only a site differs."""
    parts = hospital_parts((40, 40))
    parts["hospital-0"]["train"].target[:, 1] = 1
    parts["hospital-1"]["train"].target[:, 1] = 0
    assert solution(parts, EXACT).solved.tolist() == [True, False, True]
    assert solution(parts, Newton(penalties=(2.0,))).solved.all()


def test_what_a_scanner_does_is_not_learnt_as_a_finding() -> None:
    """Feature 0 says which hospital an exam comes from and nothing else; label 0 is common at one
    hospital, rare at the other. With a shared intercept the head learns the hospital."""
    pooled = exams(400, 3, known=1.0)
    images, generator = np.asarray(pooled.images).copy(), np.random.default_rng(0)
    owner = np.arange(400) % 2
    images[:, 0] = owner + 0.3 * generator.normal(size=400)
    logit = 1.5 * images[:, 1] + np.where(owner == 1, 1.5, -1.5)
    pooled.target[:, 0] = logit + generator.logistic(size=400) > 0
    parts = dealt(type(pooled)(images, pooled.target, pooled.known, pooled.patient), owner, 2)
    shared = solution(parts, Newton(penalties=(1.0,))).weight[0]
    apart = solution(parts, Newton(penalties=(1.0,), site_intercepts=True)).weight[0]
    assert float(shared[0]) > 2  # per unit of feature 0, which is the distance of the hospitals
    assert abs(float(apart[0])) < 0.6
    assert float(apart[1]) == pytest.approx(1.5, abs=0.4)


def test_own_offsets_are_exact_even_far_away() -> None:
    """Scores spread over ±300: from 0, Newton without a bracket would leap to infinity."""
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(60, 4, dtype=torch.float64, generator=generator) * 1.0
    score[:, 1] = score[:, 1] * 100
    score[:, 2] = score[:, 2] + 200
    target = (torch.rand(60, 4, dtype=torch.float64, generator=generator) < 0.2).double()
    known = (torch.rand(60, 4, dtype=torch.float64, generator=generator) < 0.8).double()
    target = target * known
    target[:, 3] = 0  # no positive: no say
    offset = own_offsets(score, target, known)
    excess = (known * (score + offset).sigmoid() - target).sum(0)
    assert float(excess[:3].abs().max()) < 1e-10
    assert float(offset[3]) == 0.0


@pytest.mark.parametrize("own_intercepts", [False, True])
def test_the_hessian_is_the_derivative_of_the_gradient(own_intercepts: bool) -> None:
    """A wrong one would only slow the way to the optimum, so the optimum does not show it."""
    parts = skewed()
    ask, model = asking(runtime(parts)), travelling(linear_network(parts))
    scale = Scale.of(ask(MomentsRequest(model)))
    width = 5 if own_intercepts else 6
    start = torch.linspace(-1, 1, 3 * width, dtype=torch.float64).reshape(3, width)

    def gradient(solution: torch.Tensor) -> torch.Tensor:
        return ask(LossRequest(Place(model, scale, solution, (0, 1, 2), own_intercepts))).gradient

    hessian = full(
        ask(HessianRequest(Place(model, scale, start, (0, 1, 2), own_intercepts))), width
    )
    for column in range(width):
        change = torch.zeros(width, dtype=torch.float64)
        change[column] = 1e-5
        slope = (gradient(start + change) - gradient(start - change)) / 2e-5
        assert float((slope - hessian[:, :, column]).abs().max()) < 1e-6
