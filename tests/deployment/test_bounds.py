"""What a hospital does not tell: how much a patient weighs, and more than its study asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from concilium.deployment import memory
from concilium.deployment.bounds import MOST_BOOTSTRAPS, check_request
from concilium.deployment.holdings import SECRET, Holdings
from concilium.deployment.memory import Memory
from concilium.deployment.policy import read_hospital
from concilium.deployment.refusals import RefusedError
from concilium.deployment.site import Site
from concilium.evaluation.bootstrap import BootstrapSums, patient_weights
from concilium.evaluation.calibration import Calibration
from concilium.evaluation.decoupling import LabelSetWeights
from concilium.federation.questions import Answer, Work
from concilium.federation.requests import (
    BootstrapRequest,
    EvaluationRequest,
    LabelSetRequest,
    Request,
    StatisticsRequest,
    TrialRequest,
)
from concilium.federation.wire import encode
from concilium.foundation.errors import DataError
from concilium.foundation.seeds import derive_seed
from concilium.joint.inference import Posterior
from concilium.joint.label_prior import LabelPrior
from concilium.labels.statistics import LabelStatistics
from tests.deployment.letters import ask, broadcast_of, code, work_of
from tests.deployment.worlds import METHODS, STUDY, study_of, write_federation

World = tuple[Path, Path]

REPLICATES, SEED = 4, 3  # those of the study


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A study, and the folder of a hospital that allows it."""
    study, folders = write_federation(tmp_path, names=("east",))
    return study, folders["east"]


def bootstrap(study: Path, **changed: Any) -> BootstrapRequest:
    """What the study's coordinator asks, of its initial model."""
    fields = {"part": "test", "replicates": REPLICATES, "seed": SEED, **changed}
    return BootstrapRequest(**{"model": broadcast_of(study).model, **fields})


# ---- weights of patients


def readable(sums: BootstrapSums, weights: np.ndarray[Any, Any]) -> bool:
    """Whether whole numbers of these patients (P, R) explain every cell of an answer."""
    found = np.rint(np.linalg.lstsq(weights.T, sums.counts.T.astype(float), rcond=None)[0])
    return np.array_equal(found.T @ weights, sums.counts)


def test_a_coordinator_that_draws_the_weights_again_reads_no_patient(tmp_path: Path) -> None:
    """64 replicates of 12 patients: with the weights of a simulation all exams were read."""
    text = (STUDY + METHODS).replace("bootstrap = 4", "bootstrap = 64")
    study, folders = write_federation(tmp_path, text, ("east",))
    request = bootstrap(study, replicates=64)
    sums = ask(Site(folders["east"]), work_of(study), request).value
    drawn = patient_weights(12, range(50), derive_seed(SEED, "bootstrap", "east"))
    assert not readable(replace(sums, counts=sums.counts[:, :50]), drawn)
    holdings = Holdings(folders["east"], read_hospital(folders["east"]))
    client, _ = holdings.client(study_of(study), work_of(study))
    own = patient_weights(12, range(50), request.seed_of(client))  # who has the secret reads them
    assert readable(replace(sums, counts=sums.counts[:, :50]), own)
    open_ = request.answer(replace(client, secret=b""))  # as a simulation answers
    assert readable(replace(open_, counts=open_.counts[:, :50]), drawn)


def test_the_secret_is_made_once_and_is_the_owners_alone(world: World) -> None:
    _, folder = world
    secrets = {Holdings(folder, read_hospital(folder)).secret() for _ in range(3)}
    assert len(secrets) == 1
    assert len(secrets.pop()) == 32
    assert (folder / SECRET).stat().st_mode & 0o777 == 0o600
    assert not list(folder.glob(".bootstrap*"))
    (folder / SECRET).write_bytes(b"")
    with pytest.raises(DataError, match="32 bytes"):
        Holdings(folder, read_hospital(folder)).secret()


def test_no_two_hospitals_and_no_two_models_share_weights(world: World) -> None:
    study, folder = world
    own, work = study_of(study), work_of(study)
    client, _ = Holdings(folder, read_hospital(folder)).client(own, work)
    request = bootstrap(study)
    other = replace(request, model=request.model.map(lambda tensor: tensor + 1))
    seeds = {
        request.seed_of(client),
        other.seed_of(client),
        request.seed_of(replace(client, secret=b"\1" * 32)),
        replace(request, part="validation").seed_of(client),
        request.seed_of(replace(client, secret=b"")),
    }
    assert len(seeds) == 5
    assert "secret" not in repr(client)


def test_neither_a_letter_nor_the_log_holds_the_secret(world: World) -> None:
    study, folder = world
    site, work = Site(folder), work_of(study)
    answer = encode(ask(site, work, bootstrap(study)))
    answer += encode(ask(site, work, broadcast_of(study)))
    log = (folder / "logs" / "site.log").read_bytes()
    secret = (folder / SECRET).read_bytes()
    for hidden in (secret, secret.hex().encode()):
        assert hidden not in answer + log


def test_the_same_question_has_the_same_answer_and_others_run_out(world: World) -> None:
    study, folder = world
    work = work_of(study)
    asked = [
        bootstrap(study, calibration=Calibration(np.full(3, 1.0 + step), np.zeros(3)))
        for step in range(MOST_BOOTSTRAPS + 1)
    ]
    site = Site(folder)
    first, *_ = [encode(ask(site, work, what)) for what in asked[:MOST_BOOTSTRAPS]]
    site = Site(folder)  # also after a restart
    assert code(site, work, asked[-1]) == "policy"
    assert encode(ask(site, work, asked[0])) == first
    assert isinstance(ask(site, replace(work, run="another run"), asked[-1]), Answer)


# ---- what a study does not ask


def trial(study: Path, **changed: Any) -> TrialRequest:
    fields = {
        "model": broadcast_of(study).model,
        "part": "test",
        "calibration": Calibration.identity(3),
        "thresholds": np.zeros(3),
        "label_sets": ((0, 1),),
        "posterior": None,
        "weights": LabelSetWeights(np.zeros((1, 3), np.bool_), np.ones(1)),
    }
    return TrialRequest(**{**fields, **changed})


def evaluation(study: Path, **changed: Any) -> EvaluationRequest:
    return EvaluationRequest(**{"model": broadcast_of(study).model, "part": "test", **changed})


def posterior(labels: int = 3, choice: Any = "federation", **changed: Any) -> Posterior:
    prior = LabelPrior.independent(torch.zeros(labels))
    none = LabelStatistics.zero(labels)
    return replace(Posterior(choice, torch.zeros(3), prior, none), **changed)


Ask = Callable[[Path], Request[Any]]

WITHIN: dict[str, Ask] = {
    "statistics": lambda study: StatisticsRequest("train"),
    "label sets": lambda study: LabelSetRequest("test"),
    "bootstrap": bootstrap,
    "evaluation": evaluation,
    "evaluation with all": lambda study: evaluation(
        study,
        calibration=Calibration.identity(3),
        thresholds=np.zeros(3),
        label_sets=((0, 1),),
        posterior=posterior(),
    ),
    "trial": trial,
}

BEYOND: dict[str, Ask] = {
    "statistics of no part": lambda study: StatisticsRequest("all"),
    "statistics of a number": lambda study: StatisticsRequest(0),  # type: ignore[arg-type]
    "label sets of no part": lambda study: LabelSetRequest("all"),
    "more replicates": lambda study: bootstrap(study, replicates=REPLICATES + 1),
    "fewer replicates": lambda study: bootstrap(study, replicates=1),
    "replicates by another type": lambda study: bootstrap(study, replicates=4.0),
    "another seed": lambda study: bootstrap(study, seed=SEED + 1),
    "a seed of another type": lambda study: bootstrap(study, seed=float(SEED)),
    "another part": lambda study: bootstrap(study, part="train"),
    "a calibration of more labels": lambda study: bootstrap(
        study, calibration=Calibration.identity(4)
    ),
    "a calibration of each exam": lambda study: evaluation(
        study, calibration=Calibration(np.ones((12, 3)), np.zeros((12, 3)))
    ),
    "a calibration that is none": lambda study: evaluation(study, calibration=3),
    "other label sets": lambda study: evaluation(study, label_sets=((0, 2),)),
    "many label sets": lambda study: trial(study, label_sets=((0, 1),) * 1000),
    "a label set of another type": lambda study: trial(study, label_sets=((False, True),)),
    "too many thresholds": lambda study: evaluation(study, thresholds=np.zeros(4)),
    "thresholds of each exam": lambda study: trial(study, thresholds=np.zeros((12, 3))),
    "weights of more labels": lambda study: trial(
        study, weights=LabelSetWeights(np.zeros((1, 4), np.bool_), np.ones(1))
    ),
    "weights that are none": lambda study: trial(study, weights=None),
    "another prior": lambda study: evaluation(study, posterior=posterior(choice="site")),
    "a prior of more labels": lambda study: evaluation(study, posterior=posterior(4)),
    "a baseline of more labels": lambda study: evaluation(
        study, posterior=posterior(baseline=torch.zeros(4))
    ),
    "couplings of more labels": lambda study: evaluation(
        study, posterior=posterior(coupling=torch.zeros(4, 4))
    ),
    "a prior that is none": lambda study: bootstrap(study, posterior=3),
}


@pytest.fixture
def with_prior(tmp_path: Path) -> Path:
    text = STUDY + '[methods.own]\nprior = "federation"\n'
    return write_federation(tmp_path, text, ())[0]


@pytest.mark.parametrize("name", WITHIN)
def test_what_the_study_asks_is_answered(with_prior: Path, name: str) -> None:
    check_request(study_of(with_prior), work_of(with_prior), WITHIN[name](with_prior))


@pytest.mark.parametrize("name", BEYOND)
def test_what_the_study_does_not_ask_is_refused(with_prior: Path, name: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_request(study_of(with_prior), work_of(with_prior), BEYOND[name](with_prior))
    assert caught.value.code == "policy"


def test_a_site_refuses_before_it_reads_its_data(world: World) -> None:
    study, folder = world
    (folder / "features.npz").unlink()
    assert code(Site(folder), work_of(study), bootstrap(study, replicates=10**9)) == "policy"
    assert code(Site(folder), work_of(study), bootstrap(study)) == "no_data"


# ---- invented runs


def test_the_last_runs_are_remembered_whichever_began_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST_RUNS", 3)
    own = Memory(tmp_path)
    for run in ("a", "b", "c"):
        own.check_data(run, "data")
    own.check_data("a", "data")  # begun first, and still asking
    own.check_data("d", "data")
    assert len(list((tmp_path / "memory").iterdir())) == 3
    own.check_data("b", "other data")  # forgotten, so it begins anew; the oldest is c by now
    with pytest.raises(memory.DataChangedError):
        own.check_data("a", "other data")


def test_what_was_remembered_of_a_forgotten_run_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST_RUNS", 1)
    study, folders = write_federation(tmp_path, STUDY + "[methods.fedbn]\n", ("east",))
    site, work, folder = Site(folders["east"]), work_of(study), folders["east"] / "memory"
    assert isinstance(ask(site, work, broadcast_of(study)), Answer)
    before = {path.name for path in folder.rglob("*") if path.is_file()}
    assert before == {"data.txt", "00001.safetensors"}
    other = Work(**{**vars(work), "run": "invented"})
    assert isinstance(ask(site, other, StatisticsRequest()), Answer)
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["data.txt"]
    assert code(site, work, broadcast_of(study, 1), counted=1) == "memory_lost"
    shutil.rmtree(folder)  # by the hospital's people, in the middle
    assert isinstance(ask(site, work, broadcast_of(study)), Answer)
