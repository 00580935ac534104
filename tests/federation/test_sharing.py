"""FedBN: normalisation layers stay at home, are used there, and outlast an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Exams
from concilium.federation.client import Client
from concilium.federation.messages import Broadcast
from concilium.federation.requests import EvaluationRequest
from concilium.federation.sharing import Sharing, private, travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import StudyError
from concilium.foundation.files import plain
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.metrics.auroc import Auroc
from concilium.networks.contract import Network
from concilium.networks.linear import Linear
from concilium.networks.mlp import MultilayerPerceptron
from concilium.networks.small_cnn import SmallCNN
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes._turns import ClientWork
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.studies.assembly import with_absolute_paths
from concilium.studies.bench import Job
from concilium.studies.reading import read_study
from concilium.studies.reevaluation import evaluate_again
from concilium.studies.run import run_study
from concilium.training.local import LocalTraining, Step
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries
from tests.algorithms.federations import auroc, rounds
from tests.worlds import exams, hospital_parts

PARTS = hospital_parts((40, 30, 50))
NORM = {"encoder.0.weight", "encoder.0.bias"}  # the layer norm that a perceptron begins with


def perceptron(num_features: int = 5, num_labels: int = 3) -> Network:
    return MultilayerPerceptron(hidden=(12,)).build((num_features,), num_labels, 0)


def hospitals(
    sharing: Sharing,
    parts: dict[str, dict[str, Exams]] = PARTS,
    network: Network | None = None,
    algorithm: Algorithm | None = None,
) -> Simulation:
    network = network or perceptron()
    training = LocalTraining(1, 16, OptimizerSettings("sgd", 0.3))
    home = private(network, sharing)
    clients = tuple(
        Client(name, own, network, BinaryCrossEntropy(), training, 0, sharing=sharing, private=home)
        for name, own in parts.items()
    )
    return InProcess().over(clients, algorithm or FedAvg(), ByKnownEntries())


def start(sharing: Sharing) -> NamedTensors:
    return travelling(perceptron(), sharing)


@pytest.mark.parametrize(
    ("network", "num_norms"),
    [(perceptron(), 1), (SmallCNN(width=8).build((1, 16, 16), 3, 0), 3)],
    ids=["perceptron", "small_cnn"],
)
def test_normalisation_layers_do_not_travel_and_all_else_does(
    network: Network, num_norms: int
) -> None:
    everything = travelling(network)
    shared, home = (
        travelling(network, "all_but_normalisation"),
        private(network, "all_but_normalisation"),
    )
    assert len(home) == 2 * num_norms  # scale and shift each
    assert all(tensor.ndim == 1 for tensor in home.values())
    assert not shared.keys() & home.keys()
    assert shared.keys() | home.keys() == everything.keys()
    assert shared.num_bytes() + home.num_bytes() == everything.num_bytes()
    assert not private(network, "all")


def test_a_network_without_normalisation_is_trained_as_by_fedavg() -> None:
    network = Linear().build((5,), 3, 0)
    model = travelling(network)
    found = {
        rounds(hospitals(rule, network=network), model, 3).model.digest()
        for rule in ("all", "all_but_normalisation")
    }
    assert len(found) == 1


def test_each_hospital_comes_to_its_own_normalisation() -> None:
    run = hospitals("all_but_normalisation")
    server = rounds(run, start("all_but_normalisation"), 3)
    assert not NORM & server.model.keys()
    kept = [state.private for state in run.client_states.values()]
    assert [set(own) for own in kept] == [NORM] * 3
    initial = private(perceptron(), "all_but_normalisation")
    assert len({own.digest() for own in (initial, *kept)}) == 4
    assert not hospitals("all").client_states


def test_a_hospital_goes_on_from_what_it_kept() -> None:
    """Round 2 of a hospital alone is what it does from its own tensors, not from the initial."""
    alone = {"a": PARTS["hospital-0"]}
    together = hospitals("all", alone)  # nobody to share with: all that travels is its own
    apart = hospitals("all_but_normalisation", alone)
    whole = rounds(together, start("all"), 3).model
    shared = rounds(apart, start("all_but_normalisation"), 3).model
    own = apart.client_states["a"].private
    for name, tensor in {**shared, **own}.items():
        assert torch.allclose(tensor, whole[name], atol=1e-6), name


def test_scores_of_a_hospital_use_its_own_normalisation() -> None:
    run = hospitals("all_but_normalisation")
    model = rounds(run, start("all_but_normalisation"), 3).model
    answers = dict(run.ask(EvaluationRequest(model, "test"), run.clients))
    for client in run.members:
        own = run.client_states[client.name].private
        expected = EvaluationRequest(model, "test").answer(replace(client, private=own))
        other = EvaluationRequest(model, "test").answer(client)
        found = Auroc()(answers[client.name])
        np.testing.assert_array_equal(found, Auroc()(expected))
        assert np.abs(found - Auroc()(other)).max() > 1e-3


def test_what_an_algorithm_asks_after_training_uses_the_normalisation_after_training() -> None:
    client = hospitals("all_but_normalisation").members[0]
    model = start("all_but_normalisation")
    work = ClientWork.of(client, Broadcast(0, model))
    trained, _ = work.train(model)
    now = replace(client, private=work.private)
    for found, after, before in (
        (work.scores(trained), now.scores(trained, "train"), client.scores(trained, "train")),
        (work.features(trained), now.features(trained, "train"), client.features(trained, "train")),
    ):
        np.testing.assert_array_equal(found.numpy(), after)
        assert np.abs(found.numpy() - before).max() > 1e-3


def test_a_teacher_uses_the_normalisation_that_the_hospital_began_the_round_with() -> None:
    client = hospitals("all_but_normalisation").members[0]
    own = client.private.map(lambda tensor: tensor + 0.3)  # as an earlier round left it
    client, model = replace(client, private=own), start("all_but_normalisation")
    seen: list[torch.Tensor] = []

    def watch(step: Step) -> torch.Tensor:
        seen.append(step.features_of(model))
        return torch.zeros(())

    ClientWork.of(client, Broadcast(0, model)).train(model, loss_term=watch)
    found = torch.cat(seen)  # one epoch: every exam once, in another order
    expected = torch.from_numpy(client.features(model, "train"))
    assert torch.allclose(found.sort(dim=0).values, expected.sort(dim=0).values, atol=1e-5)


def test_a_hospital_that_was_not_asked_keeps_what_it_has() -> None:
    run = hospitals("all_but_normalisation")
    server = rounds(run, start("all_but_normalisation"))
    before = dict(run.client_states)
    rounds(run, server, 1, [("hospital-1",)])
    for name, state in run.client_states.items():
        same = state.private.digest() == before[name].private.digest()
        assert same == (name != "hospital-1")


def test_fewer_bytes_travel() -> None:
    home = private(perceptron(), "all_but_normalisation").num_bytes()
    records = {}
    for rule in ("all", "all_but_normalisation"):
        run = hospitals(rule)
        progress = Progress(ServerState(0, start(rule), 3))
        schedule = Schedule(rounds=1)
        done = run_rounds(progress, schedule, FedAvg(), run, lambda model: {}, None, silent)
        records[rule] = done.history[0]
    assert home == 40  # scale and shift of five features in float32
    less = {key: records["all"][key] - records[rule][key] for key in ("bytes_down", "bytes_up")}
    assert less == {"bytes_down": 3 * home, "bytes_up": 3 * (home + 2 * 4)}  # and two weights


def test_what_is_at_home_outlasts_an_interruption(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "study")
    whole = hospitals("all_but_normalisation")
    undisturbed = rounds(whole, start("all_but_normalisation"), 4)
    first = hospitals("all_but_normalisation")
    half = rounds(first, start("all_but_normalisation"), 2)
    checkpoints.save(Progress(half, client_states=first.client_states))
    read = checkpoints.load()
    assert read is not None
    second = hospitals("all_but_normalisation")
    second.restore(read.client_states)
    assert rounds(second, read.server, 2).model.digest() == undisturbed.model.digest()
    for name, state in whole.client_states.items():
        assert second.client_states[name].private.digest() == state.private.digest()
    forgetful = hospitals("all_but_normalisation")
    assert rounds(forgetful, read.server, 2).model.digest() != undisturbed.model.digest()


@pytest.mark.parametrize("name", components.names("algorithms"))
def test_every_algorithm_works_with_it(name: str) -> None:
    run = hospitals("all_but_normalisation", algorithm=components.build("algorithms", name))
    server = rounds(run, start("all_but_normalisation"), 2)
    assert server.model.keys() == start("all_but_normalisation").keys()
    assert not NORM & {name.split("|")[-1] for name in (*server.extras, *server.model)}
    kept = {state.private.digest() for state in run.client_states.values()}
    assert len(kept) == 3
    assert all(bool(tensor.isfinite().all()) for tensor in server.model.values())


def inverted_world(seed: int) -> dict[str, dict[str, Exams]]:
    """Three hospitals; at each, other features are recorded with their sign inverted."""
    parts: dict[str, dict[str, Exams]] = {}
    signs = np.random.default_rng(500 + seed)
    for k in range(3):
        sign = np.where(signs.random(6) < 0.5, -1, 1)
        parts[f"hospital-{k}"] = {
            part: _recorded(exams(num, 100 * seed + 10 * k + i, 6, 2, known=1.0), sign)
            for i, (part, num) in enumerate({"train": 120, "test": 150}.items())
        }
    return parts


def _recorded(seen: Exams, sign: Any) -> Exams:
    return replace(seen, images=(np.asarray(seen.images) * sign).astype(np.float32))


def mean_auroc(sharing: Sharing, seed: int) -> float:
    """Mean over hospitals and labels, each hospital on its own test exams, after 12 rounds."""
    parts = inverted_world(seed)
    network = perceptron(6, 2)
    run = hospitals(sharing, parts, network)
    model = rounds(run, travelling(network, sharing), 12).model
    found = []
    for client in run.members:
        state = run.client_states.get(client.name)
        own = client if state is None else replace(client, private=state.private)
        scores = torch.from_numpy(own.scores(model, "test"))
        target = parts[client.name]["test"].target
        found += [auroc(scores[:, label], target[:, label]) for label in (0, 1)]
    return float(np.mean(found))


@pytest.mark.slow
def test_with_a_feature_shift_it_ranks_better_than_fedavg() -> None:
    """The paper's claim, in the miniature of inverted recordings, on average and by a margin."""
    gains = [
        mean_auroc("all_but_normalisation", seed) - mean_auroc("all", seed) for seed in range(4)
    ]
    assert min(gains) > 0
    assert np.mean(gains) > 0.04


STUDY = """
title = "small"
[data]
source = {name = "feature_table", file = "features.npz"}
[split]
hospitals = 3
partitioner = {name = "dirichlet", alpha = 1.0}
[network]
architecture = "mlp"
[training]
rounds = 3
participation = 0.7
learning_rates = [0.1, 0.2]
[methods.fedbn]
[methods.fedavg]
[evaluation]
bootstrap = 5
min_positives = 2
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made = exams(240, 3, known=1.0)
    np.savez(
        tmp_path / "features.npz",
        features=np.asarray(made.images),
        labels=made.target.astype(np.uint8),
        patient=made.patient // 2,
        label_names=np.array(["a", "b", "c"]),
    )
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path / "study.toml"


def run_of(path: Path, out: Path, resume: bool = False) -> list[dict[str, Any]]:
    found = with_absolute_paths(read_study(path), path.parent)
    return run_study(found, path.read_text(), out, path.parent, resume, lambda job, event: None)


@pytest.mark.slow
def test_a_finished_study_is_evaluated_with_the_normalisation_of_its_run(
    study: Path, tmp_path: Path
) -> None:
    fedbn, fedavg = run_of(study, tmp_path / "out")
    assert fedbn["bytes_up"] < fedavg["bytes_up"]
    folder = Job("fedbn", 0).folder(tmp_path / "out")
    saved = sorted(folder.glob("private-*.safetensors"))
    assert saved and not [*Job("fedavg", 0).folder(tmp_path / "out").glob("private-*")]
    again = evaluate_again(tmp_path / "out", Job("fedbn", 0), tmp_path, None)
    assert _plain(again) == _plain(fedbn["test"])
    first, second = saved[:2]
    first.write_bytes(second.read_bytes())  # another hospital's normalisation
    mixed_up = evaluate_again(tmp_path / "out", Job("fedbn", 0), tmp_path, None)
    assert _plain(mixed_up) != _plain(fedbn["test"])
    first.unlink()
    with pytest.raises(StudyError, match="is missing"):
        evaluate_again(tmp_path / "out", Job("fedbn", 0), tmp_path, None)


@pytest.mark.slow
def test_a_resumed_study_ends_with_the_same_normalisation(study: Path, tmp_path: Path) -> None:
    whole, out = run_of(study, tmp_path / "whole")[0], tmp_path / "out"
    run_of(study, out)
    folder = Job("fedbn", 0).folder(out)
    (folder / "result.json").unlink()
    for path in folder.glob("rate-*/model/checkpoints/00003.*"):
        path.unlink()  # as if it had been stopped before the last round
    for path in folder.glob("private-*"):
        path.unlink()
    resumed = run_of(study, out, resume=True)[0]
    assert _plain({**resumed, "seconds": 0}) == _plain({**whole, "seconds": 0})
    for path in folder.glob("private-*"):
        expected = Job("fedbn", 0).folder(tmp_path / "whole") / path.name
        assert path.read_bytes() == expected.read_bytes()


def _plain(found: Any) -> str:
    """As a run folder has it, where NaN equals NaN."""
    return json.dumps(plain(found), sort_keys=True)
