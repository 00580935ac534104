"""The law of a deployment: over sites it is, bit for bit, the simulation over their clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.compressions.contract import Encoded
from concilium.data.dataset import Form
from concilium.deployment.allowed import allow
from concilium.deployment.embedded import run_embedded
from concilium.deployment.holdings import Holdings
from concilium.deployment.policy import read_hospital
from concilium.deployment.site import Site
from concilium.evaluation.bootstrap import BootstrapSums
from concilium.federation.requests import BootstrapRequest, EvaluationRequest
from concilium.runtimes.in_process import InProcess
from concilium.studies.bench import Bench, Hands, Job, Parts
from concilium.studies.configuration import Study
from tests.deployment.letters import ask, broadcast_of, work_of
from tests.deployment.worlds import (
    METHODS,
    NAMES,
    STUDY,
    hashes,
    run_over,
    silent,
    study_of,
    write_federation,
    write_hospital,
)

TRAVELS = {"bytes_up", "bytes_down", "seconds"}
"""What differs by right: letters are longer than tensors."""


def without_bytes(value: Any) -> Any:
    """A result without what differs by right."""
    if isinstance(value, dict):
        return {k: without_bytes(own) for k, own in value.items() if k not in TRAVELS}
    if isinstance(value, list):
        return [without_bytes(own) for own in value]
    return value


def both(base: Path, text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Results over sites, and of the simulation, as their results.json hold them."""
    study, folders = write_federation(base, text)
    run_over(study, folders, base / "over")
    text = study.read_text(encoding="utf-8")
    run_embedded(study_of(study), text, base / "embedded", list(folders.values()), silent)
    over, embedded = (
        json.loads((base / name / "results.json").read_bytes()) for name in ("over", "embedded")
    )
    return over, embedded


@pytest.mark.slow
def test_a_whole_study_is_the_simulation_of_the_same_hospitals(tmp_path: Path) -> None:
    text = STUDY.replace("rounds = 3", "rounds = 2") + METHODS
    over, embedded = both(tmp_path, text)
    (rounds,) = hashes(over)
    assert len(set(rounds)) == 2
    assert hashes(over) == hashes(embedded)
    assert without_bytes(over) == without_bytes(embedded)
    assert over[0]["bytes_up"] > embedded[0]["bytes_up"]
    assert list(over[0]["test"]["by_hospital"]) == list(NAMES)
    assert over[0]["consolidation"]
    model = "methods/newton/seed-3-fold-0/model.safetensors"
    assert (tmp_path / "over" / model).read_bytes() == (tmp_path / "embedded" / model).read_bytes()


@pytest.mark.parametrize(
    "settings",
    ['algorithm = "scaffold"', 'sharing = "all_but_normalisation"\ncompression = "top_k"'],
)
def test_updates_of_a_site_are_those_of_a_simulations_client(tmp_path: Path, settings: str) -> None:
    """Two rounds, the second from what is remembered of the first, and a look with what stays."""
    study, folders = write_federation(tmp_path, f"{STUDY}[methods.own]\n{settings}\n", ("east",))
    site, work, own = Site(folders["east"]), work_of(study), study_of(study)
    holdings = Holdings(folders["east"], site.hospital)
    client, method = holdings.client(own, work)
    choices = method.algorithm, method.weighting, method.compression
    simulation = InProcess().over((client,), *choices)
    for round_ in range(2):
        broadcast = broadcast_of(study, round_)
        ((_, expected),) = simulation.train(broadcast, ("east",))
        found = ask(site, work, broadcast, counted=round_).value
        if method.compression is not None:  # it travels in its small form
            assert isinstance(found, Encoded)
            found = method.compression.decode(found)
        for part in ("weighted_delta", "weight", "extras"):
            assert getattr(found, part).digest() == getattr(expected, part).digest()
        assert (found.loss, found.loss_weight) == (expected.loss, expected.loss_weight)
    request = EvaluationRequest(broadcast.model, "validation")
    ((_, seen),) = simulation.ask(request, ("east",))
    found = ask(site, work, request, counted=2).value
    np.testing.assert_array_equal(found.positives, seen.positives)
    np.testing.assert_array_equal(found.negatives, seen.negatives)


def test_the_embedded_run_draws_patients_as_their_hospitals_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of patients hang on each hospital's secret, which only its folder has."""
    study, folders = write_federation(tmp_path)
    own, text = study_of(study), study.read_text(encoding="utf-8")
    request = BootstrapRequest(broadcast_of(study).model, "test", 4, 3)
    drawn: dict[str, BootstrapSums] = {}

    def ask_only(
        study: Study, job: Job, form: Form, parts: Parts, run: Path, _: object, hands: Hands
    ) -> None:
        runtime = Bench.of(study, job, form, parts, run, silent, hands).runtime(parts, 0.1)
        drawn.update(runtime.ask(request, NAMES))

    monkeypatch.setattr("concilium.deployment.embedded.do_job", ask_only)
    run_embedded(own, text, tmp_path / "embedded", list(folders.values()), silent)
    for name, folder in folders.items():
        found = ask(Site(folder), work_of(study), request, hospital=name).value
        np.testing.assert_array_equal(found.counts, drawn[name].counts)


def test_patients_are_dealt_out_by_the_hospitals_name_and_the_seed(tmp_path: Path) -> None:
    """Two hospitals with the same files do not divide them alike, nor one at two seeds."""
    study, folders = write_federation(tmp_path, names=())
    own, digest, found = study_of(study), "0" * 64, []
    for name in ("east", "north"):
        folder = write_hospital(tmp_path / name, name, 1)
        holdings = Holdings(folder, read_hospital(folder))
        found += [holdings.parts(own, digest, seed, 0)["train"].patient.tolist() for seed in (3, 4)]
    assert len({tuple(patients) for patients in found}) == 4
    assert not folders


CHOICES = {
    "fedavg": 'algorithm = "fedavg"',
    "scaffold": 'algorithm = "scaffold"',
    "fedcm": 'algorithm = "fedcm"\nloss = "positive_weighted"\nweighting = "by_known_entries"',
    "sharing": 'sharing = "all_but_normalisation"',
    "compression": 'compression = {name = "top_k", fraction = 0.25}',
    "prior": 'prior = "federation"',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
def test_every_kind_of_memory_is_that_of_the_simulation(tmp_path: Path, name: str) -> None:
    """Two learning rates, so that memories of two trainings stand side by side."""
    text = STUDY.replace("[0.1]", "[0.1, 0.03]") + f"[methods.own]\n{CHOICES[name]}\n"
    over, embedded = both(tmp_path, text)
    assert len(set(hashes(over)[0])) == 3
    assert without_bytes(over) == without_bytes(embedded)


IMAGES = """
title = "Small images"

[data]
source = "phantom"
labels = ["Effusion", "Mass", "Hernia"]

[split]
fractions = [0.5, 0.25, 0.25]

[network]
architecture = {name = "small_cnn", width = 8, depth = 1, num_features = 8}

[training]
rounds = 2
learning_rates = [0.05]
batch_size = 8
participation = 0.67
decay = "cosine"
augmentation = {translation = 0.1}

[evaluation]
min_positives = 1
bootstrap = 0

[methods.fedbn]
"""


@pytest.mark.slow
def test_images_augmented_with_normalisation_at_home(tmp_path: Path) -> None:
    """FedBN's tensors stay at hospitals, and a part of them takes part in a round."""
    study, folders = write_federation(tmp_path, IMAGES)
    for seed, folder in enumerate(folders.values()):
        generator = np.random.default_rng(seed)
        labels = generator.random((48, 3)) < 0.4
        images = generator.integers(0, 80, (48, 16, 16)) + 60 * labels[:, :1, None]
        np.savez(
            folder / "images.npz",
            images=images.astype(np.uint8),
            labels=labels.astype(np.int8),
            label_names=np.array(["Effusion", "Mass", "Hernia"]),
            patient=np.arange(48),
        )
        text = (folder / "hospital.toml").read_text(encoding="utf-8")
        text = text.replace("feature_table", "array_bundle")
        text = text.replace('file = "features.npz"', 'files = ["images.npz"]')
        (folder / "hospital.toml").write_text(text, encoding="utf-8")
        allow(study, folder)
    run_over(study, folders, tmp_path / "over")
    content = study.read_text(encoding="utf-8")
    run_embedded(study_of(study), content, tmp_path / "embedded", list(folders.values()), silent)
    over, embedded = (
        json.loads((tmp_path / name / "results.json").read_bytes()) for name in ("over", "embedded")
    )
    assert len(over[0]["history"][0]["cohort"]) == 2
    assert without_bytes(over) == without_bytes(embedded)
    # What stayed at home is at home: the simulation keeps it in the run folder, here nothing is.
    assert len(list((tmp_path / "embedded").rglob("private-*"))) == 3
    assert not list((tmp_path / "over").rglob("private-*"))
