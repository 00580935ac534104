"""The label prior from summed counts: the frequencies it is fitted to, and its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from concilium.foundation.errors import InputError
from concilium.joint.label_prior import LabelPrior, label_sets
from concilium.joint.maximum_entropy import fit_label_prior, fit_site_prior
from concilium.labels.statistics import LabelStatistics
from tests.joint.ising import (
    drawn,
    moments,
    permuted,
    probabilities,
    random_prior,
    statistics_of,
)

WEAK = 1e-4  # a ridge that moves no count by more than 1e-3 exams


def close(left: LabelPrior, right: LabelPrior, tolerance: float = 1e-7) -> None:
    np.testing.assert_allclose(left.bias, right.bias, atol=tolerance, rtol=0)
    np.testing.assert_allclose(left.coupling, right.coupling, atol=tolerance, rtol=0)


@pytest.mark.parametrize("num_labels", [1, 2, 5, 9])
def test_the_fit_has_the_counted_frequencies(num_labels: int) -> None:
    statistics = statistics_of(drawn(random_prior(num_labels, 0), 5000, 1))
    fitted = fit_label_prior(statistics, WEAK)
    counted = torch.from_numpy(statistics.both_present / 5000)
    np.testing.assert_allclose(moments(fitted), counted, atol=1e-6, rtol=0)
    assert torch.equal(fitted.coupling, fitted.coupling.T)
    assert not bool(fitted.coupling.diagonal().any())


def test_two_labels_by_hand() -> None:
    """50 exams with neither, 10 with the second alone, 30 with the first alone, 20 with both.

    π(y) ∝ 50, 30, 10, 20: θ = log 30/50, log 10/50, and J = log(20 · 50 / (30 · 10)).
    """
    cells = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    present = cells.repeat_interleave(torch.tensor([50, 10, 30, 20]), 0) > 0
    fitted = fit_label_prior(statistics_of(present), 1e-9)
    assert fitted.bias.tolist() == pytest.approx([math.log(0.6), math.log(0.2)], abs=1e-6)
    assert float(fitted.coupling[0, 1]) == pytest.approx(math.log(10 / 3), abs=1e-6)


def test_it_is_the_limit_of_iterative_proportional_fitting() -> None:
    """Deming and Stephan: scale the cells to each pair's table in turn, until all of them fit."""
    statistics = statistics_of(drawn(random_prior(3, 5, 1.5), 4000, 2))
    pair = statistics.both_present / 4000
    cells = np.full((2, 2, 2), 1 / 8)
    for _ in range(500):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            wanted = np.empty((2, 2))
            wanted[1, 1] = pair[i, j]
            wanted[1, 0], wanted[0, 1] = pair[i, i] - pair[i, j], pair[j, j] - pair[i, j]
            wanted[0, 0] = 1 - wanted[1, 1] - wanted[1, 0] - wanted[0, 1]
            (other,) = {0, 1, 2} - {i, j}
            cells = cells * np.expand_dims(wanted / cells.sum(other), other)
    fitted = probabilities(fit_label_prior(statistics, WEAK)).reshape(2, 2, 2)  # label 0 is last
    np.testing.assert_allclose(fitted.permute(2, 1, 0).numpy(), cells, atol=1e-7)


def test_many_exams_lead_back_to_the_prior_that_they_came_from() -> None:
    prior = random_prior(4, 3)
    exact = (moments(prior) * 1e9).round().numpy().astype(np.int64)
    everywhere = np.full((4, 4), 10**9)
    rows = np.repeat(exact.diagonal()[:, None], 4, 1)
    statistics = LabelStatistics(10**9, 10**9, everywhere, exact, rows)
    close(fit_label_prior(statistics), prior, 1e-5)


def test_merged_equals_pooled_whatever_the_order_of_hospitals() -> None:
    parts = [drawn(random_prior(4, seed), 300, seed) for seed in (1, 2, 3)]
    one, two, three = (statistics_of(part) for part in parts)
    pooled = fit_label_prior(statistics_of(torch.cat(parts)))
    close(fit_label_prior(one + two + three), pooled, 1e-12)
    close(fit_label_prior(three + one + two), pooled, 1e-12)


def test_permuting_labels_permutes_the_prior() -> None:
    present, order = drawn(random_prior(5, 7), 800, 1), [3, 0, 4, 1, 2]
    fitted = fit_label_prior(statistics_of(present))
    close(fit_label_prior(statistics_of(present[:, order])), permuted(fitted, order))


def test_pairs_that_nobody_knows_have_no_coupling_and_the_others_are_not_touched() -> None:
    present = drawn(random_prior(3, 8), 1000, 1)
    known = torch.ones(1000, 3, dtype=torch.bool)
    known[:500, 2] = known[500:, 0] = False  # 0 and 2 are never known on one exam
    fitted = fit_label_prior(statistics_of(present, known), WEAK)
    assert float(fitted.coupling[0, 2]) == 0
    assert float(fitted.coupling[0, 1].abs()) > 0.1
    own = (present & known).sum(0) / known.sum(0)
    np.testing.assert_allclose(moments(fitted).diagonal(), own.double(), atol=1e-6, rtol=0)


def test_what_stands_at_unknown_entries_has_no_say() -> None:
    present = drawn(random_prior(3, 8), 400, 1)
    known = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) < 0.7
    fitted = fit_label_prior(statistics_of(present, known))
    close(fit_label_prior(statistics_of(present ^ ~known, known)), fitted, 0)


def test_a_pair_that_never_occurs_is_finite_and_the_ridge_moves_its_count_by_its_coupling() -> None:
    """Where the gradient is 0, the expected count is the counted one less ρ J exams."""
    present = drawn(random_prior(3, 9), 400, 1)
    present[:, 1] &= ~present[:, 0]
    fitted = fit_label_prior(statistics_of(present), 2.0)
    coupling = float(fitted.coupling[0, 1])
    assert -10 < coupling < -1
    assert 400 * float(moments(fitted)[0, 1]) == pytest.approx(-2.0 * coupling, abs=1e-6)
    prevalence = present.double().mean(0)
    np.testing.assert_allclose(moments(fitted).diagonal(), prevalence, atol=1e-9, rtol=0)


def test_frequencies_that_no_distribution_has_give_a_finite_prior() -> None:
    """Three labels of half of all exams, two of which never agree: not more than two can differ."""
    half = np.array([[50, 0, 0], [0, 50, 0], [0, 0, 50]])
    statistics = LabelStatistics(100, 100, np.full((3, 3), 100), half, np.full((3, 3), 50))
    fitted = fit_label_prior(statistics)
    assert bool(fitted.coupling.isfinite().all()) and float(fitted.coupling[0, 1]) < -1
    np.testing.assert_allclose(
        moments(fitted).diagonal(), torch.full((3,), 0.5, dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_nothing_counted_is_a_prior_that_says_nothing() -> None:
    fitted = fit_label_prior(LabelStatistics.zero(3))
    assert not bool(fitted.bias.any()) and not bool(fitted.coupling.any())


def test_more_labels_than_can_be_enumerated_are_refused() -> None:
    with pytest.raises(InputError, match="17 labels are more than the 16"):
        fit_label_prior(LabelStatistics.zero(17))


def test_a_site_without_exams_has_the_federations_prior() -> None:
    federation = statistics_of(drawn(random_prior(4, 1), 5000, 2))
    prior = fit_label_prior(federation)
    site = fit_site_prior(LabelStatistics.zero(4), federation, prior)
    close(site, prior, 0.03)  # the federation's ridge is at 0, the site's at the federation's


def test_a_site_with_many_exams_has_its_own() -> None:
    federation, own = (statistics_of(drawn(random_prior(4, s), 60_000, s)) for s in (1, 2))
    prior = fit_label_prior(federation)
    close(fit_site_prior(own, federation, prior), fit_label_prior(own), 0.06)
    assert float((prior.coupling - fit_label_prior(own).coupling).abs().max()) > 1


def test_a_pair_that_a_site_never_saw_keeps_the_federations_coupling() -> None:
    """Also where the federation's pseudo-exams are none: J stays where it was."""
    federation = statistics_of(drawn(random_prior(3, 1), 5000, 2))
    prior = fit_label_prior(federation)
    present = drawn(random_prior(3, 4), 300, 1)
    known = torch.ones_like(present)
    known[:, 2] = False
    site = fit_site_prior(statistics_of(present, known), federation, prior, exams=0)
    assert float(site.coupling[1, 2]) == float(prior.coupling[1, 2])
    assert float(site.coupling[0, 1]) != float(prior.coupling[0, 1])


def fits(found: LabelPrior, fresh: Tensor) -> float:
    """Mean log-likelihood of label sets (N, L)."""
    normaliser = found.log_weight(label_sets(len(found.bias))).logsumexp(0)
    return float((found.log_weight(fresh.double()) - normaliser).mean())


def test_a_sites_prior_fits_its_label_sets_better_than_the_federations() -> None:
    """300 exams of a site that couples labels the other way, among 5,000 of the others."""
    common = random_prior(5, 1)
    other = LabelPrior(common.bias, -common.coupling)
    own = drawn(other, 300, 3)
    federation = statistics_of(torch.cat([drawn(common, 5000, 2), own]))
    prior, fresh = fit_label_prior(federation), drawn(other, 2000, 4)
    site = fit_site_prior(statistics_of(own), federation, prior)
    assert fits(site, fresh) > fits(prior, fresh) + 0.3


def test_a_site_of_few_exams_that_is_like_the_others_gains_from_them() -> None:
    """40 exams alone say too little of ten pairs."""
    common = random_prior(5, 1)
    federation = statistics_of(drawn(common, 5000, 2))
    few, fresh = statistics_of(drawn(common, 40, 5)), drawn(common, 2000, 6)
    held = fit_site_prior(few, federation, fit_label_prior(federation))
    assert fits(held, fresh) > fits(fit_label_prior(few), fresh) + 0.02


def test_a_site_counts_its_own_exams_at_their_number() -> None:
    """Its frequencies are those of its 300 exams and of 100 exams with the federation's."""
    federation = statistics_of(drawn(random_prior(3, 1), 5000, 2))
    own = statistics_of(drawn(random_prior(3, 4), 300, 3))
    prior = fit_label_prior(federation)
    site = fit_site_prior(own, federation, prior, exams=100)
    expected = (own.positives + 100 * federation.prevalence) / 400
    np.testing.assert_allclose(moments(site).diagonal(), expected, atol=1e-8)


@pytest.mark.parametrize("setting", [{"ridge": 0.0}, {"exams": -1.0}])
def test_a_ridge_is_positive_and_exams_are_not_negative(setting: dict[str, float]) -> None:
    counted = statistics_of(drawn(random_prior(2, 1), 50, 2))
    with pytest.raises(InputError):
        fit_site_prior(counted, counted, fit_label_prior(counted), **setting)
