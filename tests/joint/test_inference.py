"""The choice of a prior: what becomes of scores, and what a federation and its sites use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from concilium.data.dataset import Exams
from concilium.evaluation.bootstrap import replicate_sums
from concilium.evaluation.calibration import fit_calibration
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.requests import BootstrapRequest, EvaluationRequest, StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.foundation.seeds import derive_seed
from concilium.joint.inference import Posterior, PriorChoice, ScoreMeaning, site_prior
from concilium.joint.label_prior import LabelPrior
from concilium.joint.maximum_entropy import fit_label_prior, fit_site_prior
from concilium.joint.pair_counts import PairCounts
from concilium.joint.posterior import mean_field, posterior_log_odds
from concilium.orchestration.phases import Recipe, asking, assess, operate, posterior_of
from concilium.orchestration.rounds import Schedule
from tests.joint.ising import drawn, log_loss, random_prior, statistics_of, true_evidence
from tests.worlds import hospital_parts, joined, linear_network, runtime, with_labels_permuted

PARTS = hospital_parts((90, 60, 75))
MODEL = travelling(linear_network(PARTS))
CHOSEN: tuple[PriorChoice, ...] = ("independent", "federation", "site")


def found(choice: PriorChoice, scores: ScoreMeaning | None = None) -> Posterior:
    """The posterior of the federation above."""
    posterior = posterior_of(choice, scores or ScoreMeaning(), asking(runtime(PARTS)))
    assert posterior is not None
    return posterior


def test_none_is_no_posterior() -> None:
    assert posterior_of("none", ScoreMeaning(), asking(runtime(PARTS))) is None


def test_ordinary_scores_under_independent_labels_are_what_they_were() -> None:
    ask, posterior = asking(runtime(PARTS)), found("independent")
    scores = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32) * 5
    applied = posterior.apply(scores, posterior.prior)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, scores, atol=1e-6)
    raw = ask(EvaluationRequest(MODEL, "validation"))
    own = ask(EvaluationRequest(MODEL, "validation", posterior=posterior))
    np.testing.assert_array_equal(own.positives, raw.positives)


def test_evidence_under_independent_labels_gets_the_prevalences_log_odds() -> None:
    posterior = found("independent", ScoreMeaning(evidence=True))
    statistics = asking(runtime(PARTS))(StatisticsRequest())
    expected = np.log(statistics.positives / statistics.negatives)
    scores = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(posterior.apply(scores, posterior.prior), scores + expected)


def test_rows_that_a_head_kept_mean_what_they_did() -> None:
    """Of three labels, a head that gives evidence solved the first; the loss gave none, or all."""
    odds, rows = found("independent").baseline, torch.tensor([True, False, False])
    scores = ScoreMeaning().solved(rows, True, None)
    assert found("independent", scores).baseline.tolist() == [0.0, *odds[1:].tolist()]
    scores = ScoreMeaning(evidence=True).solved(rows, False, None)
    assert found("independent", scores).baseline.tolist() == [float(odds[0]), 0.0, 0.0]
    coupling = torch.ones(3, 3)
    assert ScoreMeaning().solved(rows, True, coupling).coupling is coupling


def test_ordinary_scores_become_evidence_before_the_federations_prior_is_added() -> None:
    posterior, own = found("federation"), found("federation", ScoreMeaning(evidence=True))
    statistics = asking(runtime(PARTS))(StatisticsRequest())
    prior = fit_label_prior(statistics)
    assert torch.equal(posterior.prior.coupling, prior.coupling)
    scores = np.random.default_rng(0).normal(size=(20, 3))
    odds = np.log(statistics.positives / statistics.negatives)
    np.testing.assert_allclose(
        posterior.apply(scores + odds, posterior.prior), own.apply(scores, own.prior)
    )
    expected = posterior_log_odds(torch.from_numpy(scores), prior)
    np.testing.assert_allclose(own.apply(scores, own.prior), expected)


def test_the_coupling_of_a_head_is_added_to_the_priors() -> None:
    extra = torch.tensor([[0.0, 2.0, 0.0], [2.0, 0.0, -1.0], [0.0, -1.0, 0.0]])
    for choice in CHOSEN:
        plain = found(choice, ScoreMeaning(True))
        coupled = found(choice, ScoreMeaning(True, extra))
        own = next(iter(PARTS.values()))["train"]
        labels = torch.from_numpy(own.target), torch.from_numpy(own.known)
        without, with_ = (p.prior_at(own.statistics(), *labels) for p in (plain, coupled))
        np.testing.assert_allclose(with_.coupling, without.coupling + extra, atol=1e-12)
        assert torch.equal(with_.bias, without.bias)


def test_a_site_uses_its_own_training_labels_whatever_part_is_scored() -> None:
    """The scores that a request counts are those of the prior fitted at that hospital."""
    posterior, own = found("site"), runtime(PARTS)
    for client in own.members:
        statistics = client.parts["train"].statistics()
        prior = fit_site_prior(statistics, posterior.federation, posterior.prior)
        scores = posterior.apply(client.scores(MODEL, "test"), prior)
        exams = client.parts["test"]
        expected = EvaluationSums.of(scores, exams.target, exams.known, exams.patient)
        answer = EvaluationRequest(MODEL, "test", posterior=posterior).answer(client)
        np.testing.assert_array_equal(answer.positives, expected.positives)
        np.testing.assert_array_equal(answer.negatives, expected.negatives)


def test_the_bootstrap_draws_from_posterior_log_odds() -> None:
    posterior = found("federation")
    client = runtime(PARTS).members[0]
    scores = posterior.apply(client.scores(MODEL, "test"), posterior.prior)
    exams, seed = client.parts["test"], derive_seed(7, "bootstrap", client.name)
    expected = replicate_sums(scores, exams.target, exams.known, exams.patient, 5, seed)
    answer = BootstrapRequest(MODEL, "test", 5, 7, posterior=posterior).answer(client)
    np.testing.assert_array_equal(answer.positives, expected.positives)
    raw = BootstrapRequest(MODEL, "test", 5, 7).answer(client)
    assert not np.array_equal(raw.positives, expected.positives)


@pytest.mark.parametrize("choice", CHOSEN)
def test_calibration_and_thresholds_are_fitted_to_posterior_log_odds(choice: PriorChoice) -> None:
    """And the test is assessed with the same posterior, by the single values and by replicates."""
    own = runtime(hospital_parts((200, 200)))
    ask = asking(own)
    posterior = posterior_of(choice, ScoreMeaning(evidence=True), ask)
    use = operate(MODEL, ask, lambda sums: at_specificity(sums, 0.9), posterior)
    expected = fit_calibration(ask(EvaluationRequest(MODEL, "validation", posterior=posterior)))
    assert expected.num_identity == 0
    np.testing.assert_array_equal(use.calibration.offset, expected.offset)
    calibrated = EvaluationRequest(MODEL, "validation", expected, posterior=posterior)
    np.testing.assert_array_equal(use.thresholds, at_specificity(ask(calibrated), 0.9))
    assessed = assess(MODEL, use, own, Recipe(Schedule(0)), replicates=3, seed=1)
    tested = ask(replace(calibrated, part="test", thresholds=use.thresholds))
    np.testing.assert_array_equal(assessed.all.positives, tested.positives)
    drawn_again = ask(BootstrapRequest(MODEL, "test", 3, 1, expected, posterior))
    assert assessed.bootstrap is not None
    np.testing.assert_array_equal(assessed.bootstrap.positives, drawn_again.positives)
    without = ask(EvaluationRequest(MODEL, "test", expected))
    assert not np.array_equal(without.positives, tested.positives)


def test_a_federations_prior_is_that_of_all_exams_in_one_place() -> None:
    whole = {
        "all": {part: joined([own[part] for own in PARTS.values()]) for part in ("train", "test")}
    }
    pooled = posterior_of("federation", ScoreMeaning(), asking(runtime(whole)))
    assert pooled is not None
    own = found("federation")
    np.testing.assert_allclose(own.prior.bias, pooled.prior.bias, atol=1e-12)
    np.testing.assert_allclose(own.prior.coupling, pooled.prior.coupling, atol=1e-12)
    np.testing.assert_allclose(own.baseline, pooled.baseline, atol=1e-12)


@pytest.mark.parametrize("choice", CHOSEN)
def test_permuting_labels_permutes_log_odds(choice: PriorChoice) -> None:
    order = [2, 0, 1]
    parts = with_labels_permuted(PARTS, order)
    other = posterior_of(choice, ScoreMeaning(), asking(runtime(parts)))
    assert other is not None
    own = found(choice)
    scores = np.random.default_rng(0).normal(size=(20, 3))
    priors = []
    for posterior, exams in ((own, PARTS), (other, parts)):
        train = exams["hospital-1"]["train"]
        labels = torch.from_numpy(train.target), torch.from_numpy(train.known)
        priors.append(posterior.prior_at(train.statistics(), *labels))
    np.testing.assert_allclose(
        other.apply(scores[:, order], priors[1]), own.apply(scores, priors[0])[:, order], atol=1e-7
    )


def many_labels(num: int, seed: int, sign: float) -> Exams:
    """Exams with 18 labels, of which 0 and 1 go together, or, with sign −1, exclude each other."""
    generator = np.random.default_rng(seed)
    target = generator.random((num, 18)) < 0.2
    again = generator.random(num) < 0.8
    target[:, 1] = np.where(again, target[:, 0] == (sign > 0), target[:, 1])
    images = generator.normal(size=(num, 5)).astype(np.float32)
    known = generator.random((num, 18)) < 0.9
    return Exams(images, target.astype(np.float32), known, np.arange(num) + 100_000 * seed)


def test_more_than_sixteen_labels_take_the_other_road_by_themselves() -> None:
    """Pseudo-likelihood from sums (merged equals pooled), a site's own, and mean field."""
    parts = {
        name: {"train": many_labels(400, seed, sign)}
        for name, seed, sign in (("a", 1, 1.0), ("b", 2, 1.0), ("c", 3, -1.0))
    }
    whole = {"all": {"train": joined([own["train"] for own in parts.values()])}}
    merged, pooled = (
        posterior_of("site", ScoreMeaning(evidence=True), asking(runtime(p)))
        for p in (parts, whole)
    )
    assert merged is not None and pooled is not None
    np.testing.assert_allclose(merged.prior.coupling, pooled.prior.coupling, atol=1e-8)
    assert float(merged.prior.coupling[0, 1]) > 0.3
    own = parts["c"]["train"]
    labels = torch.from_numpy(own.target), torch.from_numpy(own.known)
    site = merged.prior_at(own.statistics(), *labels)
    assert float(site.coupling[0, 1]) < -0.3
    scores = np.random.default_rng(0).normal(size=(5, 18))
    expected = mean_field(torch.from_numpy(scores), site)
    np.testing.assert_allclose(merged.apply(scores, site), expected)


def test_with_many_labels_a_site_knows_nothing_of_the_labels_that_are_scored() -> None:
    """Train and test couple the labels otherwise: the prior is that of the training part."""
    own = {"train": many_labels(200, 1, 1.0), "test": many_labels(100, 2, -1.0)}
    parts = {"a": own}
    posterior = posterior_of("site", ScoreMeaning(evidence=True), asking(runtime(parts)))
    assert posterior is not None
    client, model = runtime(parts).members[0], travelling(linear_network(parts))
    exams, raw = own["test"], client.scores(model, "test")
    sums = {}
    for part, labels in own.items():
        target, known = torch.from_numpy(labels.target), torch.from_numpy(labels.known)
        prior = site_prior(
            labels.statistics(), target, known, posterior.federation, posterior.prior
        )
        scores = posterior.apply(raw, prior)
        sums[part] = EvaluationSums.of(scores, exams.target, exams.known, exams.patient)
    answer = EvaluationRequest(model, "test", posterior=posterior).answer(client)
    np.testing.assert_array_equal(answer.positives, sums["train"].positives)
    assert not np.array_equal(answer.positives, sums["test"].positives)


def test_with_many_labels_a_site_is_held_to_the_federation_as_by_a_hundred_exams() -> None:
    """A finding of one exam in five, not seen in 100 exams: about one in nine, not never.

    The prior's pull is 100 · 0.2 · 0.8 (θ − log ¼): against 100 negatives it ends at θ = −2.08.
    Held as by one exam, it would end at −5.2.
    """
    federation = statistics_of((torch.arange(1000) % 5 == 0)[:, None].expand(-1, 18))
    prior = LabelPrior.independent(PairCounts.of(federation).log_odds)
    target = torch.zeros(100, 18)
    known = torch.zeros(100, 18, dtype=torch.bool)
    known[:, 0] = True
    own = statistics_of(target > 0, known)
    found = site_prior(own, target, known, federation, prior)
    assert float(found.bias[0]) == pytest.approx(-2.08, abs=0.01)
    assert torch.equal(found.bias[1:], prior.bias[1:])


def test_the_sites_prior_serves_a_site_that_couples_labels_otherwise() -> None:
    """True evidence; the site's couplings have the opposite sign of the 4,000 other exams'.

    On 2,000 fresh exams of the site the federation's prior is worse than labels without couplings,
    the site's own, fitted to 400 exams, is better than both.
    """
    common = random_prior(5, 1)
    other = LabelPrior(common.bias, -common.coupling)
    own, fresh = drawn(other, 400, 3), drawn(other, 2000, 4)
    federation = statistics_of(torch.cat([drawn(common, 4000, 2), own]))
    alone = LabelPrior.independent(PairCounts.of(federation).log_odds)
    evidence = true_evidence(fresh, 5).numpy()
    losses = {}
    for choice in CHOSEN:
        prior = alone if choice == "independent" else fit_label_prior(federation)
        posterior = Posterior.of(choice, ScoreMeaning(evidence=True), prior, federation)
        at_site = posterior.prior_at(statistics_of(own), own.float(), torch.ones_like(own))
        losses[choice] = log_loss(torch.from_numpy(posterior.apply(evidence, at_site)), fresh)
    assert losses["site"] + 0.02 < losses["independent"]
    assert losses["independent"] + 0.005 < losses["federation"]
