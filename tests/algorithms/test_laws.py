"""What every algorithm promises, with its default settings, on small federations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from concilium.algorithms.contract import Algorithm
from concilium.federation.client import Client
from concilium.federation.messages import Update, total
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import Sharing, private, travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.losses.bce import BinaryCrossEntropy
from concilium.networks.mlp import MultilayerPerceptron
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.phases import asking
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.contract import Weighting
from tests.worlds import (
    hospital_parts,
    in_float64,
    linear_network,
    runtime,
    with_labels_permuted,
)

NAMES = components.names("algorithms")
PARTS = hospital_parts((24, 40, 16, 30))
TRAINING = LocalTraining(2, 16, OptimizerSettings("sgd", 0.1))

every_algorithm = pytest.mark.parametrize("name", NAMES)


def build(name: str) -> Algorithm:
    algorithm: Algorithm = components.build("algorithms", name)
    return algorithm


def federation(
    name: str, parts: dict = PARTS, weighting: Weighting | None = None
) -> tuple[Simulation, ServerState]:
    """A linear network's federation, and its server before the first round."""
    own = runtime(parts, TRAINING, algorithm=build(name), weighting=weighting)
    return own, fresh(own, travelling(linear_network(parts)))


def fresh(own: Simulation, model: NamedTensors) -> ServerState:
    statistics = asking(own)(StatisticsRequest())
    return ServerState(0, model, len(own.clients), label_statistics=statistics)


def play(
    own: Simulation, server: ServerState, rounds: int, cohorts: Sequence[Sequence[str]] = ()
) -> ServerState:
    """The server after some rounds; cohorts in turn, all clients where none are given."""
    for turn in range(rounds):
        cohort = cohorts[turn % len(cohorts)] if cohorts else own.clients
        replies = own.train(own.algorithm.broadcast(server), cohort)
        server = own.algorithm.server_update(server, total(replies, cohort))
    return server


def apart(left: NamedTensors, right: NamedTensors) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def finite(tensors: NamedTensors) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())


@every_algorithm
def test_rounds_are_counted_and_the_model_trains_and_stays_finite(name: str) -> None:
    own, server = federation(name)
    after = play(own, server, 3)
    assert after.round == 3
    assert after.num_clients == 4 and after.label_statistics is server.label_statistics
    assert finite(after.model) and finite(after.extras)
    broadcast = own.algorithm.broadcast(after)
    for sent in (*broadcast.model.values(), *broadcast.extras.values()):
        assert sent.dtype == torch.float32  # totals are float64, what goes down is not
    for tensor in server.model:
        assert float((after.model[tensor] - server.model[tensor]).abs().min()) > 0, tensor
        assert after.model[tensor].dtype == server.model[tensor].dtype
        assert after.model[tensor].shape == server.model[tensor].shape


@every_algorithm
def test_the_order_of_replies_does_not_matter_at_all(name: str) -> None:
    in_turn, server = federation(name)
    other, _ = federation(name)
    expected = play(in_turn, server, 2).model.digest()
    for _ in range(2):
        replies = list(other.train(other.algorithm.broadcast(server), other.clients))
        server = other.algorithm.server_update(server, total(replies[::-1], other.clients))
    assert server.model.digest() == expected


@every_algorithm
def test_the_order_of_clients_does_not_matter(name: str) -> None:
    own, server = federation(name)
    backwards, _ = federation(name, dict(reversed(PARTS.items())))
    assert apart(play(own, server, 2).model, play(backwards, server, 2).model) < 1e-5


@every_algorithm
def test_with_labels_in_another_order_the_model_s_rows_are(name: str) -> None:
    order = [2, 0, 1]
    own, server = federation(name)
    other, _ = federation(name, with_labels_permuted(PARTS, order))
    rows = server.model.map(lambda tensor: tensor[order])
    expected = play(own, server, 2).model.map(lambda tensor: tensor[order])
    assert apart(play(other, fresh(other, rows), 2).model, expected) < 1e-5
    assert apart(rows, server.model) > 1e-3  # so the order is one that can be seen


@every_algorithm
def test_the_server_needs_nothing_but_the_sum(name: str) -> None:
    """Updates that others have added up before, as a secure sum does, give the same model."""
    own, server = federation(name)
    server = play(own, server, 1)
    updates = [update for _, update in own.train(own.algorithm.broadcast(server), own.clients)]
    one_by_one = total(zip(own.clients, updates, strict=True), own.clients)
    first, second, third, fourth = (in_float64(update) for update in updates)
    summed = (third + first) + (fourth + second)
    for field in ("weighted_delta", "weight", "extras"):
        assert apart_or_empty(getattr(one_by_one, field), getattr(summed, field)) < 1e-9
    assert summed.num_clients == 4
    models = [own.algorithm.server_update(server, update).model for update in (one_by_one, summed)]
    assert apart(*models) < 1e-6


def apart_or_empty(left: NamedTensors, right: NamedTensors) -> float:
    assert left.keys() == right.keys()
    return apart(left, right) if left else 0.0


@every_algorithm
def test_a_client_s_training_loss_weighs_as_its_known_entries(name: str) -> None:
    own, server = federation(name)
    for client, update in own.train(own.algorithm.broadcast(server), own.clients):
        known = PARTS[client]["train"].known
        assert update.loss_weight == known.sum() < known.size


@every_algorithm
def test_a_client_without_a_known_entry_is_harmless(name: str) -> None:
    parts = hospital_parts((24, 16, 12))
    parts["hospital-1"]["train"].known[:] = False
    own, server = federation(name, parts)
    for _ in range(3):
        updates = dict(own.train(own.algorithm.broadcast(server), own.clients))
        silent = updates["hospital-1"]
        assert silent.loss == silent.loss_weight == 0
        assert float(silent.weighted_delta.norm()) == 0
        assert all(finite(part) for part in (silent.weight, silent.extras))
        server = own.algorithm.server_update(server, total(updates.items(), own.clients))
        assert finite(server.model) and finite(server.extras)
    assert all(finite(state.extras) for state in own.client_states.values())


@every_algorithm
def test_where_nobody_knows_anything_a_fresh_model_stays_as_it_is(name: str) -> None:
    parts = hospital_parts((12, 9))
    for hospital in parts.values():
        hospital["train"].known[:] = False
    own, server = federation(name, parts)
    assert play(own, server, 2).model.digest() == server.model.digest()


@every_algorithm
def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    name: str, tmp_path: Path
) -> None:
    own, server = federation(name)
    after_two = play(own, server, 2)
    checkpoints = Checkpoints(tmp_path, "study")
    checkpoints.save(Progress(after_two, client_states=own.client_states))
    expected = play(own, after_two, 1)

    resumed, _ = federation(name)
    found = checkpoints.load()
    assert found is not None
    resumed.restore(found.client_states)
    after = play(resumed, found.server, 1)
    assert after.model.digest() == expected.model.digest()
    assert after.extras.digest() == expected.extras.digest()
    assert own.client_states.keys() == resumed.client_states.keys()
    for client, state in own.client_states.items():
        assert resumed.client_states[client].extras.digest() == state.extras.digest()


@every_algorithm
def test_two_of_four_clients_a_round_train_the_model(name: str) -> None:
    own, server = federation(name)
    one, two, three, four = own.clients
    cohorts = ((one, two), (three, four), (one, three))
    after = play(own, server, 3, cohorts)
    assert finite(after.model) and finite(after.extras)
    assert mean_loss(own, after.model) < mean_loss(own, server.model)


@dataclass(frozen=True)
class ByKnownOfEachLabel(Weighting):
    """Each row of the head weighs as its label's known entries, (L, 1) and (L,)."""

    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        rows = torch.from_numpy(own.known.astype(np.float32))
        return NamedTensors({"head.weight": rows[:, None], "head.bias": rows})


@every_algorithm
def test_rows_of_the_head_may_have_weights_of_their_own(name: str) -> None:
    own, server = federation(name, weighting=ByKnownOfEachLabel())
    after = play(own, server, 2)
    assert finite(after.model)
    for tensor in server.model:
        assert after.model[tensor].shape == server.model[tensor].shape
    assert mean_loss(own, after.model) < mean_loss(own, server.model)
    # Where nobody has a say on a label, its row has no delta, and nothing is divided by zero.
    unknown = hospital_parts((24, 40))
    for hospital in unknown.values():
        hospital["train"].known[:, 1] = False
    own, server = federation(name, unknown, ByKnownOfEachLabel())
    after = play(own, server, 2)
    assert finite(after.model)
    assert torch.equal(after.model["head.weight"][1], server.model["head.weight"][1])


@every_algorithm
def test_one_client_alone_learns(name: str) -> None:
    own, server = federation(name, hospital_parts((60,)))
    after = play(own, server, 12)
    assert mean_loss(own, after.model) < mean_loss(own, server.model) - 0.02


def with_normalisation_at_home(name: str, shift: float) -> tuple[Simulation, ServerState]:
    """A perceptron's federation after two rounds; normalisation at home began that far off."""
    network = MultilayerPerceptron(hidden=(6,)).build((5,), 3, 0)
    rule: Sharing = "all_but_normalisation"
    stays = private(network, rule).map(lambda tensor: tensor + shift)
    loss = BinaryCrossEntropy()
    clients = tuple(
        Client(client, own, network, loss, TRAINING, 0, sharing=rule, private=stays)
        for client, own in PARTS.items()
    )
    own = InProcess().over(clients, build(name), ByKnownEntries())
    return own, play(own, fresh(own, travelling(network, rule)), 2)


@every_algorithm
def test_with_normalisation_at_home_only_the_rest_is_sent(name: str) -> None:
    """FedBN goes with every algorithm: neither messages nor memories name what stays at home."""
    own, server = with_normalisation_at_home(name, 0.0)
    stays = own.members[0].private
    assert len(stays) == 2 and not stays.keys() & server.model.keys() and finite(server.model)
    states = own.client_states.values()
    assert len(states) == len(own.members)
    for state in states:
        assert state.private.keys() == stays.keys() and apart(state.private, stays) > 1e-4
    names = {name for state in states for name in (*state.extras, *server.extras)}
    assert not [name for name in names if any(name.endswith(home) for home in stays)]


@every_algorithm
def test_what_stays_at_home_has_its_part_in_training(name: str) -> None:
    """Another scale and shift at home, and hospitals send other deltas."""
    _, one = with_normalisation_at_home(name, 0.0)
    _, other = with_normalisation_at_home(name, 0.5)
    assert apart(one.model, other.model) > 1e-3


OPTIMIZERS = {
    "sgd": OptimizerSettings("sgd", 0.1),
    "momentum": OptimizerSettings("sgd", 0.1, momentum=0.9),
    "adam": OptimizerSettings("adam", 0.001),
    "adamw": OptimizerSettings("adamw", 0.001),
}
REFUSED = {
    "fednova": {"adam", "adamw"},
    "scaffold": {"momentum", "adam", "adamw"},
    "fedcm": {"momentum", "adam", "adamw"},
}
"""Of each algorithm that overrides ``check``; all others take every optimiser."""


@every_algorithm
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_local_optimiser_is_taken_or_refused_with_what_to_do(name: str, optimizer: str) -> None:
    algorithm, settings = build(name), OPTIMIZERS[optimizer]
    assert (type(algorithm).check is not Algorithm.check) == (name in REFUSED)
    training = LocalTraining(1, 16, settings)
    if optimizer not in REFUSED.get(name, ()):
        algorithm.check(settings)
        own = runtime(PARTS, training, algorithm=algorithm)
        server = fresh(own, travelling(linear_network(PARTS)))
        assert finite(play(own, server, 1).model)
        return
    with pytest.raises(InputError) as refused:
        algorithm.check(settings)
    assert all(problem.remedy for problem in refused.value.problems)
    with pytest.raises(InputError):  # before any training
        runtime(PARTS, training, algorithm=algorithm)


def mean_loss(own: Simulation, model: NamedTensors) -> float:
    """Mean BCE over all known training entries of all hospitals."""
    loss, entries = 0.0, 0
    for client in own.members:
        exams = client.parts["train"]
        known = torch.from_numpy(exams.known)
        logits = torch.from_numpy(client.scores(model, "train"))
        target = torch.from_numpy(exams.target)
        loss += float(BinaryCrossEntropy()(logits, target, known)) * int(known.sum())
        entries += int(known.sum())
    return loss / entries


def test_an_update_of_two_clients_is_the_sum_of_what_each_sends() -> None:
    """So the laws above speak of sums: every field of a total is one."""
    own, server = federation("scaffold")
    pair = own.clients[:2]
    updates = dict(own.train(own.algorithm.broadcast(server), pair))
    summed = total(updates.items(), pair)
    first, second = updates.values()
    for field in ("weighted_delta", "weight", "extras"):
        expected = getattr(in_float64(first), field) + getattr(in_float64(second), field)
        assert apart(getattr(summed, field), expected) == 0
    assert isinstance(summed, Update) and summed.num_clients == 2
    assert summed.loss == first.loss + second.loss
