"""The label prior from sums of the pseudo-likelihood: its equation, its laws, its edges."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from concilium.foundation.errors import InputError
from concilium.joint.label_prior import LabelPrior
from concilium.joint.maximum_entropy import fit_label_prior
from concilium.joint.pair_counts import PairCounts
from concilium.joint.pseudo_likelihood import PseudoSums, fit_pseudo_likelihood
from tests.joint.ising import drawn, permuted, random_prior, statistics_of

PREVALENCE = torch.tensor([0.2, 0.4, 0.1], dtype=torch.float64)


def fitted(present: Tensor, known: Tensor | None = None, ridge: float = 1.0) -> LabelPrior:
    """The fit to label sets (N, L) in one place."""
    known = torch.ones_like(present) if known is None else known
    odds = PairCounts.of(statistics_of(present, known)).log_odds
    ask = partial(PseudoSums.of, present, known, odds.sigmoid())
    return fit_pseudo_likelihood(ask, odds.sigmoid(), LabelPrior.independent(odds), ridge)


def masks(present: Tensor, share: float = 0.7) -> Tensor:
    return torch.rand(present.shape, generator=torch.Generator().manual_seed(0)) < share


def test_the_loss_is_the_equation_and_the_others_are_its_derivatives() -> None:
    present = drawn(random_prior(3, 1), 40, 2)
    known = masks(present)
    point = torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def equation(point: Tensor, label: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for y, mask in zip(present.double(), known, strict=True):
            score = point[label, label]
            for other in {0, 1, 2} - {label}:
                if mask[other]:
                    score = score + point[label, other] * (y[other] - PREVALENCE[other])
            if mask[label]:
                total = total + binary_cross_entropy_with_logits(score, y[label])
        return total

    sums = PseudoSums.of(present, known, PREVALENCE, point)
    for label in range(3):
        own = partial(equation, label=label)
        assert float(sums.loss[label]) == pytest.approx(float(own(point)))
        moving = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(own(moving), moving, create_graph=True)
        np.testing.assert_allclose(sums.gradient[label], gradient[label].detach(), atol=1e-9)
        hessian = [
            torch.autograd.grad(g, moving, retain_graph=True)[0][label] for g in gradient[label]
        ]
        np.testing.assert_allclose(sums.hessian[label], torch.stack(hessian), atol=1e-9)


def test_two_labels_by_hand() -> None:
    """50, 10, 30 and 20 exams with neither, the second, the first, both: as maximum entropy."""
    cells = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    present = cells.repeat_interleave(torch.tensor([50, 10, 30, 20]) * 100, 0) > 0
    found = fitted(present, ridge=1e-9)
    assert found.bias.tolist() == pytest.approx([math.log(0.6), math.log(0.2)], abs=1e-3)
    assert float(found.coupling[0, 1]) == pytest.approx(math.log(10 / 3), abs=1e-3)


def test_it_is_close_to_maximum_entropy_where_that_can_be_had() -> None:
    """It is consistent, and here its couplings differ less than they err from the truth."""
    prior = random_prior(5, 4)
    present = drawn(prior, 8000, 5)
    exact, found = fit_label_prior(statistics_of(present)), fitted(present)
    error = float((exact.coupling - prior.coupling).abs().max())
    assert float((found.coupling - exact.coupling).abs().max()) < error / 2 < 0.2
    np.testing.assert_allclose(found.bias, exact.bias, atol=error / 2)


def test_merged_equals_pooled_whatever_the_order_of_hospitals() -> None:
    parts = [drawn(random_prior(4, seed), 200, seed) for seed in (1, 2, 3)]
    pooled = torch.cat(parts)
    odds = PairCounts.of(statistics_of(pooled)).log_odds
    expected = fitted(pooled)
    for order in ((0, 1, 2), (2, 0, 1)):

        def ask(point: Tensor, order: tuple[int, ...] = order) -> PseudoSums:
            one, two, three = (
                PseudoSums.of(parts[i], torch.ones_like(parts[i]), odds.sigmoid(), point)
                for i in order
            )
            return one + two + three

        found = fit_pseudo_likelihood(ask, odds.sigmoid(), LabelPrior.independent(odds), 1.0)
        np.testing.assert_allclose(found.bias, expected.bias, atol=1e-9)
        np.testing.assert_allclose(found.coupling, expected.coupling, atol=1e-9)


def test_permuting_labels_permutes_the_prior() -> None:
    present, order = drawn(random_prior(5, 7), 400, 1), [3, 0, 4, 1, 2]
    known = masks(present)
    expected = permuted(fitted(present, known), order)
    found = fitted(present[:, order], known[:, order])
    np.testing.assert_allclose(found.bias, expected.bias, atol=1e-9)
    np.testing.assert_allclose(found.coupling, expected.coupling, atol=1e-9)


def test_what_stands_at_unknown_entries_has_no_say() -> None:
    present = drawn(random_prior(3, 1), 300, 2).float()
    known = masks(present)
    point = torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    clean = PseudoSums.of(present, known, PREVALENCE, point)
    filled = PseudoSums.of(present.masked_fill(~known, math.nan), known, PREVALENCE, point)
    assert torch.equal(clean.loss, filled.loss)
    assert torch.equal(clean.gradient, filled.gradient)
    assert torch.equal(clean.hessian, filled.hessian)


def test_labels_never_known_together_have_no_coupling() -> None:
    present = drawn(random_prior(3, 8), 600, 1)
    known = torch.ones_like(present)
    known[:300, 2] = known[300:, 0] = False
    found = fitted(present, known)
    assert float(found.coupling[0, 2]) == 0
    assert float(found.coupling[0, 1].abs()) > 0.1


def test_a_label_that_nobody_has_or_nobody_knows_is_finite() -> None:
    present = drawn(random_prior(4, 8), 300, 1)
    known = torch.ones_like(present)
    present[:, 0] = known[:, 1] = False
    found = fitted(present, known)
    assert bool(found.bias.isfinite().all() and found.coupling.isfinite().all())
    assert float(found.bias[0]) < math.log(0.5 / 300)
    assert found.bias[1] == 0 and not bool(found.coupling[1].any())


def test_without_exams_it_is_what_it_is_held_to() -> None:
    """A site that has seen nothing: the federation's prior, whatever the centring."""
    around, nothing = random_prior(3, 1), torch.zeros(0, 3, dtype=torch.bool)
    ask = partial(PseudoSums.of, nothing, nothing, PREVALENCE)
    found = fit_pseudo_likelihood(ask, PREVALENCE, around, 1.0, 100.0)
    np.testing.assert_allclose(found.bias, around.bias, atol=1e-12)
    np.testing.assert_allclose(found.coupling, around.coupling, atol=1e-12)


def test_more_exams_hold_the_bias_more() -> None:
    """50 exams with the label against a prior odds of one in four: nearer to it the more exams."""
    present = torch.ones(50, 1, dtype=torch.bool)
    prevalence = torch.tensor([0.2], dtype=torch.float64)
    around = LabelPrior.independent(prevalence.logit())
    ask = partial(PseudoSums.of, present, present, prevalence)
    few, many = (fit_pseudo_likelihood(ask, prevalence, around, 1.0, e) for e in (1.0, 1000.0))
    assert float(few.bias) > 3 > -1 > float(many.bias) > float(around.bias)
    # At the minimum, 50 (1 − p) = exams · 0.2 · 0.8 · (c − c₀).
    for found, exams in ((few, 1.0), (many, 1000.0)):
        pulled = exams * 0.16 * float(found.bias - around.bias)
        assert 50 * (1 - float(found.bias.sigmoid())) == pytest.approx(pulled, abs=1e-5)


def test_twenty_labels_find_the_pair_that_goes_together() -> None:
    present = torch.rand(3000, 20, generator=torch.Generator().manual_seed(0)) < 0.1
    present[:, 7] |= present[:, 3] & present[:, 5]
    present[:, 4] = torch.where(masks(present, 0.5)[:, 0], present[:, 0], present[:, 4])
    found = fitted(present)
    strongest = found.coupling.triu().argmax()
    assert (int(strongest) // 20, int(strongest) % 20) == (0, 4)


@pytest.mark.parametrize("setting", [(0.0, 1.0), (1.0, 0.0)])
def test_the_ridge_and_the_exams_are_positive(setting: tuple[float, float]) -> None:
    nothing = torch.zeros(0, 3, dtype=torch.bool)
    ask = partial(PseudoSums.of, nothing, nothing, PREVALENCE)
    with pytest.raises(InputError, match="must be > 0"):
        fit_pseudo_likelihood(ask, PREVALENCE, random_prior(3, 1), *setting)
