"""What every runtime promises: the same as all clients in this process, one after the other."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from concilium.algorithms.contract import Algorithm
from concilium.compressions.top_k import TopK
from concilium.federation.client import Client
from concilium.federation.messages import total
from concilium.federation.requests import EvaluationRequest, StatisticsRequest
from concilium.federation.sharing import Sharing, private, travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import DivergenceError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.balanced_bce import BalancedBinaryCrossEntropy
from concilium.networks.mlp import MultilayerPerceptron
from concilium.orchestration.phases import asking
from concilium.runtimes.contract import LocalRuntime, Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_known_entries import ByKnownEntries
from tests.worlds import hospital_parts

# Hospitals of unequal sizes: with batches of 16 they take from 1 to 4 steps an epoch.
PARTS = hospital_parts((24, 60, 9, 33))
COHORTS = (
    ("hospital-0", "hospital-1", "hospital-2", "hospital-3"),
    ("hospital-3", "hospital-1"),
    ("hospital-2", "hospital-0", "hospital-3"),
)
TOLERANCE = 1e-5  # of runtimes that round otherwise; a round moves the model by about 0.1

every_runtime = pytest.mark.parametrize("name", components.names("runtimes"))
every_algorithm = pytest.mark.parametrize("algorithm", components.names("algorithms"))


def build(name: str) -> LocalRuntime:
    """A runtime with two workers, where it has any: more than it takes for features by itself."""
    known = {field.name for field in dataclasses.fields(components.find("runtimes", name))}
    settings = {"workers": 2} if "workers" in known else {}
    runtime: LocalRuntime = components.build("runtimes", name, settings)
    return runtime


def simulation(
    runtime: LocalRuntime,
    algorithm: str = "fedavg",
    sharing: Sharing = "all",
    training: LocalTraining | None = None,
    compression: TopK | None = None,
) -> tuple[Simulation, ServerState]:
    network = MultilayerPerceptron((6,)).build((5,), 3, 0)
    training = training or LocalTraining(2, 16, OptimizerSettings("sgd", 0.1))
    own = private(network, sharing)
    clients = [
        Client(
            name,
            parts,
            network,
            BalancedBinaryCrossEntropy(),
            training,
            0,
            sharing=sharing,
            private=own,
        )
        for name, parts in PARTS.items()
    ]
    method: Algorithm = components.build("algorithms", algorithm)
    run = runtime.over(clients, method, ByKnownEntries(), compression)
    statistics = asking(run)(StatisticsRequest())
    return run, ServerState(
        0, travelling(network, sharing), len(clients), label_statistics=statistics
    )


def play(own: Simulation, server: ServerState) -> tuple[ServerState, dict[str, NamedTensors]]:
    """The server after a round with each cohort, and all that clients remember."""
    for cohort in COHORTS:
        replies = own.train(own.algorithm.broadcast(server), cohort)
        server = own.algorithm.server_update(server, total(replies, cohort))
    return server, {
        f"{name}/{kind}": getattr(state, kind)
        for name, state in own.client_states.items()
        for kind in ("extras", "private", "residual")
    }


def assert_same(left: NamedTensors, right: NamedTensors, exact: bool) -> None:
    assert left.keys() == right.keys()
    if exact:
        assert left.digest() == right.digest()
    for name in left:
        assert float((left[name] - right[name]).abs().max()) <= TOLERANCE, name


def assert_plays_as_in_process(name: str, **world: object) -> None:
    runtime = build(name)
    expected, remembered = play(*simulation(InProcess(), **world))  # type: ignore[arg-type]
    found, own = play(*simulation(runtime, **world))  # type: ignore[arg-type]
    assert_same(found.model, expected.model, runtime.exact)
    assert own.keys() == remembered.keys()
    for place, tensors in own.items():
        if tensors:
            assert_same(tensors, remembered[place], runtime.exact)


@every_algorithm
@every_runtime
def test_rounds_are_those_of_this_process(name: str, algorithm: str) -> None:
    assert_plays_as_in_process(name, algorithm=algorithm)


@every_runtime
def test_what_stays_at_home_is_what_it_is_in_this_process(name: str) -> None:
    assert_plays_as_in_process(name, sharing="all_but_normalisation")


@every_runtime
def test_what_a_compression_has_not_sent_is_remembered(name: str) -> None:
    if build(name).exact:  # else an entry that is just among the largest may not be so here
        assert_plays_as_in_process(name, compression=TopK(0.3))


@pytest.mark.parametrize("optimizer", [("sgd", 0.1, 0.9, 0.01), ("adam", 0.01), ("adamw", 0.01)])
@every_runtime
def test_steps_are_those_of_this_process(name: str, optimizer: tuple) -> None:
    training = LocalTraining(2, 16, OptimizerSettings(*optimizer), clip_norm=0.5)
    assert_plays_as_in_process(name, training=training)


@every_runtime
def test_answers_are_those_of_this_process(name: str) -> None:
    reference, server = simulation(InProcess())
    own, _ = simulation(build(name))
    request = EvaluationRequest(server.model, "test")
    expected = list(reference.ask(request, reference.clients))
    found = list(own.ask(request, own.clients))
    assert [client for client, _ in found] == [client for client, _ in expected]
    for (_, left), (_, right) in zip(found, expected, strict=True):
        assert np.array_equal(left.positives, right.positives)
        assert np.array_equal(left.negatives, right.negatives)


@every_runtime
def test_memory_can_be_given_back(name: str) -> None:
    """A runtime that was restored goes on as the one that it was taken from."""
    own, server = simulation(build(name), "scaffold")
    server, _ = play(own, server)
    other, _ = simulation(build(name), "scaffold")
    other.restore(own.client_states)
    assert_same(play(own, server)[0].model, play(other, server)[0].model, build(name).exact)


@every_runtime
def test_a_turn_that_fails_ends_the_round_with_its_error(name: str) -> None:
    endless = LocalTraining(1, 16, OptimizerSettings("sgd", 1e30))
    own, server = simulation(build(name), training=endless)
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        play(own, server)


@every_runtime
def test_an_optimiser_that_the_algorithm_cannot_use_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="scaffold needs plain SGD"):
        simulation(build(name), "scaffold", training=LocalTraining(optimizer=ADAM))


ADAM = OptimizerSettings("adam", 0.01)


@every_runtime
def test_a_client_without_a_known_entry_takes_no_step(name: str) -> None:
    runtime = build(name)
    models = []
    for one in (InProcess(), runtime):
        own, server = simulation(one)
        silent = own.members[1]
        train = silent.parts["train"]
        nothing = replace(train, known=np.zeros_like(train.known))
        parts = {**silent.parts, "train": nothing}
        members = (own.members[0], replace(silent, parts=parts), *own.members[2:])
        again = one.over(members, own.algorithm, own.weighting)
        models.append(play(again, server)[0].model)
    assert_same(*models, runtime.exact)  # type: ignore[arg-type]
