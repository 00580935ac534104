"""Posterior log-odds: the sum over label sets by hand and by loops, laws, and what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from concilium.foundation.errors import InputError
from concilium.joint import posterior
from concilium.joint.label_prior import LabelPrior, label_sets
from concilium.joint.maximum_entropy import fit_label_prior
from concilium.joint.posterior import (
    enumerated,
    mean_field,
    most_probable,
    posterior_log_odds,
)
from tests.joint.ising import (
    by_loops,
    drawn,
    log_loss,
    moments,
    permuted,
    random_prior,
    statistics_of,
    true_evidence,
)


def evidence(num: int, num_labels: int, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(num, num_labels, generator=generator, dtype=torch.float64)


def test_three_labels_by_hand() -> None:
    """exp(θ) = (1/2, 1/4, 1), exp(z) = (2, 4, 1), exp(J₀₁) = 3, all else uncoupled.

    Weights of (y₀, y₁): 1, 1, 1, 3; label 2 halves each. Odds: (1 + 3) / (1 + 1), the same, 1.
    """
    coupling = torch.zeros(3, 3, dtype=torch.float64)
    coupling[0, 1] = coupling[1, 0] = math.log(3)
    prior = LabelPrior(torch.tensor([0.5, 0.25, 1.0], dtype=torch.float64).log(), coupling)
    found = enumerated(torch.tensor([[2.0, 4.0, 1.0]], dtype=torch.float64).log(), prior)
    assert found[0].tolist() == pytest.approx([math.log(2), math.log(2), 0.0], abs=1e-12)


@pytest.mark.parametrize("num_labels", [1, 2, 3, 5])
def test_it_is_the_sum_over_all_label_sets(num_labels: int) -> None:
    prior, own = random_prior(num_labels, 3), evidence(6, num_labels)
    np.testing.assert_allclose(posterior_log_odds(own, prior), by_loops(own, prior), atol=1e-9)


def test_without_evidence_it_is_the_prior_itself() -> None:
    prior = random_prior(6, 1)
    found = enumerated(torch.zeros(1, 6), prior).sigmoid()[0]
    np.testing.assert_allclose(found, moments(prior).diagonal(), atol=1e-12)


@pytest.mark.parametrize("num_labels", [4, 20])
def test_without_couplings_it_is_evidence_plus_log_odds_exactly(num_labels: int) -> None:
    bias, own = random_prior(num_labels, 2).bias, evidence(5, num_labels)
    prior = LabelPrior.independent(bias)
    assert torch.equal(posterior_log_odds(own, prior), own + bias)
    np.testing.assert_allclose(mean_field(own, prior), own + bias, atol=1e-12)
    if num_labels < 10:
        np.testing.assert_allclose(enumerated(own, prior), own + bias, atol=1e-9)


@pytest.mark.parametrize("way", [enumerated, mean_field])
def test_permuting_labels_permutes_the_log_odds(way: object) -> None:
    assert callable(way)
    prior, own, order = random_prior(5, 4, 0.3), evidence(7, 5), [3, 0, 4, 1, 2]
    found = way(own[:, order], permuted(prior, order))
    np.testing.assert_allclose(found, way(own, prior)[:, order], atol=1e-8)


def test_blocks_of_exams_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, own = random_prior(5, 4), evidence(50, 5)
    whole, sets = enumerated(own, prior), most_probable(own, prior)
    monkeypatch.setattr(posterior, "CELLS", 7 * 8)
    np.testing.assert_allclose(enumerated(own, prior), whole, atol=1e-12)
    assert torch.equal(most_probable(own, prior), sets)
    assert enumerated(own[:0], prior).shape == (0, 5)
    assert mean_field(own[:0], prior).shape == (0, 5)


def test_scores_of_a_hundred_are_finite_and_single_precision_is_held() -> None:
    prior = random_prior(6, 4)
    extreme = 200.0 * (label_sets(6) - 0.5)
    found = enumerated(extreme, prior)
    assert bool(found.isfinite().all())
    assert bool(((found > 0) == (extreme > 0)).all())
    assert float(found.abs().min()) > 80
    single = evidence(20, 6).float()
    assert enumerated(single, prior).dtype == torch.float64
    np.testing.assert_allclose(enumerated(single, prior), by_loops(single, prior), atol=1e-5)


@pytest.mark.parametrize("num_labels", [2, 5])
def test_log_odds_of_thousands_are_right(num_labels: int) -> None:
    """Evidence, biases and couplings whose exponentials no float holds, by logarithms alone."""
    one = random_prior(num_labels, 3)
    prior = LabelPrior(one.bias * 900, one.coupling * 900)
    own = torch.cat([evidence(20, num_labels), evidence(20, num_labels, 1, 900.0)])
    sets = label_sets(num_labels)
    energy = own @ sets.T + prior.log_weight(sets)
    expected = [
        energy[:, sets[:, i] > 0].logsumexp(1) - energy[:, sets[:, i] == 0].logsumexp(1)
        for i in range(num_labels)
    ]
    assert float(torch.stack(expected).abs().max()) > 1000
    np.testing.assert_allclose(enumerated(own, prior), torch.stack(expected, 1), rtol=1e-9)


def test_two_findings_that_exclude_each_other_keep_their_sign_however_sure_they_are() -> None:
    """Weights of none, a, b, both: e⁰, e⁹⁰⁰, e⁸⁰⁰, e⁻³⁰⁰; so the log-odds are ±(900 − 800)."""
    coupling = torch.tensor([[0.0, -2000.0], [-2000.0, 0.0]], dtype=torch.float64)
    prior = LabelPrior(torch.zeros(2, dtype=torch.float64), coupling)
    found = enumerated(torch.tensor([[900.0, 800.0]]), prior)
    assert found[0].tolist() == pytest.approx([100.0, -100.0])


def test_sure_evidence_and_a_sure_prior_do_not_overflow() -> None:
    """Evidence of 800 for every label, and a prior that is sure of every label, beside zeros."""
    prior = random_prior(6, 4)
    for sure in (prior, LabelPrior(prior.bias + 800, prior.coupling)):
        for own in (torch.zeros(1, 6), torch.full((1, 6), 800.0), torch.full((1, 6), -800.0)):
            assert bool(enumerated(own, sure).isfinite().all())


def test_the_most_probable_set_is_the_one_of_greatest_weight() -> None:
    prior, own = random_prior(4, 6), evidence(30, 4)
    for row, found in zip(own, most_probable(own, prior), strict=True):
        weights = [float(prior.log_weight(y[None])[0] + y @ row) for y in label_sets(4)]
        assert torch.equal(label_sets(4)[int(np.argmax(weights))] > 0, found)


def test_of_two_labels_that_exclude_each_other_the_most_probable_set_names_one() -> None:
    """Weights: neither 1, one 1.2, the other 1.1, both 0: no label by itself is above one half."""
    coupling = torch.tensor([[0.0, -50.0], [-50.0, 0.0]], dtype=torch.float64)
    prior = LabelPrior(torch.zeros(2, dtype=torch.float64), coupling)
    own = torch.tensor([[1.2, 1.1]], dtype=torch.float64).log()
    assert most_probable(own, prior).tolist() == [[True, False]]
    assert bool((enumerated(own, prior) < 0).all())


def test_mean_field_solves_its_equation() -> None:
    prior, own = random_prior(20, 5, 0.3), evidence(10, 20)
    found = mean_field(own, prior)
    fixed = own + prior.bias + found.sigmoid() @ prior.coupling
    np.testing.assert_allclose(found, fixed, atol=1e-8)
    assert torch.equal(found, mean_field(own, prior))


@pytest.mark.parametrize("strength", [-2.0, -5.0])
def test_mean_field_ends_where_labels_exclude_each_other(strength: float) -> None:
    """17 alike findings, z = 2: all at once they swing between many and none, and never end."""
    prior = LabelPrior(
        torch.zeros(17, dtype=torch.float64), strength * (1 - torch.eye(17, dtype=torch.float64))
    )
    own = torch.full((1, 17), 2.0, dtype=torch.float64)
    found = mean_field(own, prior)
    assert float((found - own - found.sigmoid() @ prior.coupling).abs().max()) < 1e-6
    at_once = own.sigmoid()
    for _ in range(100):
        at_once = (own + at_once @ prior.coupling).sigmoid()
    again = (own + at_once @ prior.coupling).sigmoid()
    assert float((again - at_once).abs().max()) > 0.5


def test_of_two_labels_that_exclude_each_other_the_likelier_stays_in_mean_field() -> None:
    """Both (2, −28) and (−28, 1) solve the equation; the exact log-odds have the first's signs."""
    coupling = torch.tensor([[0.0, -30.0], [-30.0, 0.0]], dtype=torch.float64)
    prior = LabelPrior(torch.zeros(2, dtype=torch.float64), coupling)
    own = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    expected = torch.tensor([[True, False], [False, True]])
    assert torch.equal(mean_field(own, prior) > 0, expected)
    assert torch.equal(enumerated(own, prior) > 0, expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_mean_field_ends_with_strong_couplings_of_either_sign(seed: int, strength: float) -> None:
    prior, own = random_prior(17, seed, strength), evidence(20, 17, seed)
    found = mean_field(own, prior)
    assert float((found - own - prior.bias - found.sigmoid() @ prior.coupling).abs().max()) < 1e-6
    order = torch.randperm(17, generator=torch.Generator().manual_seed(seed)).tolist()
    other = mean_field(own[:, order], permuted(prior, order))  # no two are equally likely
    np.testing.assert_allclose(other, found[:, order], atol=1e-6)


def test_mean_field_is_close_to_exact_where_couplings_are_weak() -> None:
    """And much closer than labels that are taken for independent."""
    prior, own = random_prior(8, 5, 0.2), evidence(200, 8)
    exact = enumerated(own, prior).sigmoid()
    error = (mean_field(own, prior).sigmoid() - exact).abs().mean()
    alone = ((own + prior.bias).sigmoid() - exact).abs().mean()
    assert float(error) < 0.003
    assert float(alone) > 0.015


def test_more_than_sixteen_labels_go_by_mean_field() -> None:
    prior, own = random_prior(17, 5, 0.3), evidence(3, 17)
    assert torch.equal(posterior_log_odds(own, prior), mean_field(own, prior))
    for exact in (enumerated, most_probable):
        with pytest.raises(InputError, match="17 labels are more than the 16"):
            exact(own, prior)
    few = random_prior(3, 5)
    assert torch.equal(posterior_log_odds(own[:, :3], few), enumerated(own[:, :3], few))


def test_the_true_prior_beats_independent_labels_and_the_fitted_one_is_as_good() -> None:
    """True evidence, 4,000 exams of six coupled labels: what the other labels say is worth nats.

    The prior fitted to the counts of 4,000 other exams loses next to nothing; one with the wrong
    sign of the couplings is worse than none.
    """
    prior = random_prior(6, 11, 2.0)
    present = drawn(prior, 4000, 1)
    own = true_evidence(present, 2)
    found = fit_label_prior(statistics_of(drawn(prior, 4000, 3)))
    prevalence = moments(prior).diagonal()
    joint, fitted, alone, wrong = (
        log_loss(posterior_log_odds(own, p), present)
        for p in (
            prior,
            found,
            LabelPrior.independent(prevalence.logit()),
            LabelPrior(prior.bias, -prior.coupling),
        )
    )
    assert joint < alone - 0.012
    assert fitted < joint + 0.001
    assert wrong > alone + 0.1
