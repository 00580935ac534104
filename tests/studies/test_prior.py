"""The prior of a method, from the study file to the numbers, and to the same numbers again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors

from concilium.data.dataset import Exams
from concilium.federation.requests import EvaluationRequest, StatisticsRequest
from concilium.foundation import components
from concilium.foundation.errors import StudyError
from concilium.foundation.files import plain
from concilium.foundation.named_tensors import NamedTensors
from concilium.joint.inference import ScoreMeaning
from concilium.joint.label_prior import LabelPrior
from concilium.joint.maximum_entropy import fit_label_prior
from concilium.joint.pair_counts import PairCounts
from concilium.orchestration.phases import asking, posterior_of, validation_score
from concilium.studies.assembly import method_of
from concilium.studies.bench import Job
from concilium.studies.choice_checks import check
from concilium.studies.configuration import Choice, MethodSettings
from concilium.studies.reading import parse_study
from concilium.studies.reevaluation import evaluate_again, read_meaning
from tests.studies.test_jobs import CONTENT, PARTS, bench, result
from tests.studies.test_same_numbers import essence, run, write_study
from tests.worlds import runtime

CHOICES = ("none", "independent", "federation", "site")
EVIDENCE = Choice(name="label_regression")


def found_under(folder: Path, prior: str, **method: Any) -> dict[str, Any]:
    """The result of one round under a prior."""
    methods = {"fedavg": {"prior": prior, **method}}
    return result(folder / prior, "fedavg", PARTS, methods=methods)


def test_the_result_says_which_prior_was_used(tmp_path: Path) -> None:
    statistics = asking(runtime(PARTS))(StatisticsRequest())
    fitted = fit_label_prior(statistics)
    alone = LabelPrior.independent(PairCounts.of(statistics).log_odds)
    expected = {"independent": alone, "federation": fitted, "site": fitted}
    assert found_under(tmp_path, "none")["test"]["operation"]["prior"] == {"choice": "none"}
    for choice, prior in expected.items():
        said = found_under(tmp_path, choice)["test"]["operation"]["prior"]
        assert said["choice"] == choice
        np.testing.assert_allclose(said["bias"], prior.bias, atol=1e-9)
        np.testing.assert_allclose(said["coupling"], prior.coupling, atol=1e-9)


def test_a_prior_changes_how_a_model_is_used_and_not_the_model(tmp_path: Path) -> None:
    """Ordinary scores: "independent" is "none", the others are others, and also differ."""
    found = {choice: found_under(tmp_path, choice) for choice in CHOICES}
    assert len({own["model"] for own in found.values()}) == 1
    losses = {choice: own["test"]["metrics"]["log_loss"] for choice, own in found.items()}
    np.testing.assert_allclose(losses["independent"], losses["none"], atol=1e-6)
    for one, other in (("none", "federation"), ("federation", "site")):
        assert float(np.abs(losses[one] - losses[other]).max()) > 1e-4


@pytest.mark.parametrize("trains", ["hospitals", "pooled"])
def test_the_prior_is_that_of_the_exams_that_are_trained_on(tmp_path: Path, trains: str) -> None:
    """A hospital alone knows of its own labels only."""
    found = found_under(tmp_path, "federation", trains=trains)
    statistics = [own["train"].statistics() for own in PARTS.values()]
    if trains == "hospitals":
        expected = np.mean([fit_label_prior(own).bias.numpy() for own in statistics], 0)
    else:
        expected = fit_label_prior(statistics[0] + statistics[1] + statistics[2]).bias.numpy()
    np.testing.assert_allclose(found["test"]["operation"]["prior"]["bias"], expected, atol=1e-9)


def test_a_head_that_gives_evidence_needs_a_prior() -> None:
    settings = MethodSettings(head=EVIDENCE)
    with pytest.raises(StudyError, match='add prior = "federation"'):
        method_of("own", settings)
    for choice in CHOICES[1:]:
        method_of("own", MethodSettings(head=EVIDENCE, prior=choice))


SAYS = {"bce": "log-odds", "logit_adjusted": "log-odds", "cooccurrence_adjusted": "evidence"}
"""Losses over whose scores a label prior may stand; over all others it may not."""


@pytest.mark.parametrize("choice", CHOICES[1:])
@pytest.mark.parametrize("loss", components.names("losses"))
def test_a_prior_needs_a_loss_whose_scores_are_log_odds_or_evidence(loss: str, choice: str) -> None:
    methods = {"mine": {"loss": loss, "prior": choice}}
    study = parse_study({**CONTENT, "methods": methods}, "small.toml")
    if loss in SAYS:
        check(study, "small.toml", ("methods",))
        return
    said = (
        f"small.toml, methods.mine: prior: .* which the scores of {loss} are not; leave the prior"
    )
    with pytest.raises(StudyError, match=said) as error:
        check(study, "small.toml", ("methods",))
    assert ('or add head = "newton"' in str(error.value)) == (loss != "softmax")


def test_settings_of_a_loss_may_take_the_log_odds_from_it() -> None:
    towards = Choice(name="logit_adjusted", towards="balance")
    with pytest.raises(StudyError, match="which the scores of logit_adjusted are not"):
        method_of("own", MethodSettings(loss=towards, prior="site"))


@pytest.mark.parametrize("loss", ["focal", "positive_weighted", "two_way"])
@pytest.mark.parametrize("head", ["newton", "label_regression"])
def test_the_scores_of_an_exact_head_stand_in_for_those_of_any_loss(loss: str, head: str) -> None:
    named = {"loss": Choice(name=loss), "head": Choice(name=head)}
    method_of("own", MethodSettings(prior="federation", **named))
    if head == "newton":
        method_of("own", MethodSettings(prior="none", **named))


def test_without_a_prior_any_loss_will_do() -> None:
    for loss in components.names("losses"):
        method_of("own", MethodSettings(loss=Choice(name=loss)))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ({"head": "newton"}, False),
        ({"head": "label_regression"}, True),
        ({"loss": "cooccurrence_adjusted"}, True),
        ({"loss": "cooccurrence_adjusted", "head": "newton"}, False),
    ],
)
def test_scores_are_what_the_head_gives_or_without_one_what_the_loss_does(
    tmp_path: Path, method: dict[str, Any], expected: bool
) -> None:
    assert settled(tmp_path, method) == [expected] * 3


def settled(folder: Path, method: dict[str, Any], parts: Any = PARTS) -> list[bool]:
    """Whether the final scores of each label are evidence, as it is read when evaluated again."""
    tables = {"fedavg": {**method, "prior": "independent"}}
    place = folder / "-".join(method.values())
    result(place, "fedavg", parts, methods=tables)
    scores = read_meaning(bench(place, "fedavg", parts, methods=tables), "model")
    return torch.as_tensor(scores.evidence).expand(3).tolist()


def without_the_last_label() -> dict[str, dict[str, Exams]]:
    """The exams above; no training exam has label 2, so that no head can solve it."""
    parts = {name: dict(own) for name, own in PARTS.items()}
    for own in parts.values():
        target = own["train"].target.copy()
        target[:, 2] = 0
        own["train"] = replace(own["train"], target=target)
    return parts


def test_a_label_that_the_head_keeps_means_what_the_loss_trained(tmp_path: Path) -> None:
    parts = without_the_last_label()
    assert settled(tmp_path, {"head": "label_regression"}, parts) == [True, True, False]
    both = {"loss": "cooccurrence_adjusted", "head": "newton"}
    assert settled(tmp_path, both, parts) == [False, False, True]


def test_a_label_that_the_head_keeps_is_calibrated_as_without_the_head(tmp_path: Path) -> None:
    """Independent labels: the scores of the kept row are those of the rounds, not moved by θ."""
    method = {"head": "label_regression", "prior": "independent"}
    found = result(tmp_path, "fedavg", without_the_last_label(), methods={"fedavg": method})
    after, before = (found[name]["operation"] for name in ("test", "before_consolidation"))
    assert found["consolidation"]["kept_rows"] == 1
    for key in ("offset", "slope"):
        np.testing.assert_allclose(after[key][2], before[key][2], atol=1e-6)
        assert after[key][0] != before[key][0]


def test_learning_rates_are_chosen_by_scores_under_the_prior(tmp_path: Path) -> None:
    found = {choice: found_under(tmp_path, choice)["validation_score"] for choice in CHOICES}
    assert found["none"] == pytest.approx(found["independent"], abs=1e-6)
    methods = {"fedavg": {"prior": "federation"}}
    own = bench(tmp_path / "federation", "fedavg", PARTS, methods=methods)
    ask = asking(runtime(PARTS))
    posterior = posterior_of("federation", ScoreMeaning(), ask)
    model = NamedTensors(from_safetensors(own.model_file("model").read_bytes()))
    sums = ask(EvaluationRequest(model, "validation", posterior=posterior))
    assert found["federation"] == validation_score(sums) != found["none"]


def test_a_prior_that_is_not_known_is_refused() -> None:
    with pytest.raises(StudyError, match=r"methods\.fedavg\.prior"):
        parse_study({**CONTENT, "methods": {"fedavg": {"prior": "joint"}}}, "small.toml")


@pytest.mark.parametrize(
    "trains", ["federation", pytest.param("hospitals", marks=pytest.mark.slow)]
)
def test_what_a_head_finds_of_labels_together_is_kept(tmp_path: Path, trains: str) -> None:
    methods = {"fedavg": {"head": "label_regression", "prior": "federation", "trains": trains}}
    result(tmp_path, "fedavg", PARTS, methods=methods)
    own = bench(tmp_path, "fedavg", PARTS, methods=methods)
    names = ("hospital-0", "hospital-1", "hospital-2") if trains == "hospitals" else ("model",)
    files = [own.scores_file(name) for name in names]
    assert len(set(files)) == len(names) and all(file.exists() for file in files)
    plain_methods = {"fedavg": {"head": "newton", "prior": "federation"}}
    result(tmp_path / "newton", "fedavg", PARTS, methods=plain_methods)
    other = bench(tmp_path / "newton", "fedavg", PARTS, methods=plain_methods)
    assert not other.scores_file("model").exists()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["", "label_regression"])
@pytest.mark.parametrize("trains", ["federation", "hospitals"])
@pytest.mark.parametrize("prior", CHOICES)
def test_it_runs_resumes_and_evaluates_again_to_the_same_numbers(
    tmp_path: Path, prior: str, trains: str, head: str
) -> None:
    if head and prior == "none":
        pytest.skip("refused")
    path = write_study(tmp_path, rounds=2)
    method = f"[methods.own]\nprior = '{prior}'\ntrains = '{trains}'\n"
    method += f"head = '{head}'\n" if head else ""
    text = path.read_text().replace("[methods.concilium]\n[methods.local_only]\n", method)
    path.write_text(text)
    out = tmp_path / "out"
    first = run(path, out)
    assert first[0]["test"]["operation"]["prior"]["choice"] == prior
    (out / "methods/own/seed-0-fold-0/result.json").unlink()
    assert essence(run(path, out, resume=True)) == essence(first)
    again = evaluate_again(out, Job("own", 0), tmp_path, None)
    assert plain(again) == plain(first[0]["test"])
    files = list((out / "methods/own/seed-0-fold-0").glob("scores*"))
    assert bool(files) == bool(head)
    if files:  # without what the head found and what its scores are, the numbers would be others
        saved = from_safetensors(files[0].read_bytes())
        assert bool(saved["evidence"].any())
        for key, tensor in (("coupling", saved["coupling"] * 0), ("evidence", ~saved["evidence"])):
            files[0].write_bytes(to_safetensors({**saved, key: tensor}))
            assert plain(evaluate_again(out, Job("own", 0), tmp_path, None)) != plain(again)
        files[0].unlink()
        with pytest.raises(StudyError, match="is missing"):
            evaluate_again(out, Job("own", 0), tmp_path, None)
