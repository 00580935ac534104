"""Stacked clients: steps of many taken together are those that each takes alone, up to rounding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from concilium.algorithms.contract import LocalWork
from concilium.algorithms.fedavg import FedAvg
from concilium.data.augmentation import Augmentation
from concilium.data.dataset import Exams
from concilium.data.rows import Rows
from concilium.federation.messages import Broadcast, Update
from concilium.federation.requests import EvaluationRequest
from concilium.federation.states import ClientState
from concilium.foundation import components
from concilium.foundation.errors import DivergenceError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.networks.label_graph import LabelGraphNetwork
from concilium.networks.linear import Linear
from concilium.networks.mlp import MultilayerPerceptron
from concilium.runtimes import stacked
from concilium.runtimes.contract import LocalRuntime
from concilium.runtimes.in_process import InProcess
from concilium.runtimes.stacked import Stacked
from concilium.training._stack import can_be_stacked
from concilium.training.local import LocalTraining, Task, train
from concilium.training.optimizers import OptimizerSettings
from concilium.training.stacked import train_together
from concilium.weightings.by_known_entries import ByKnownEntries
from tests.runtimes.test_laws import assert_same, play, simulation
from tests.worlds import exams, hospital_parts, linear_network, runtime

# From 1 to 4 batches of 16 an epoch; last batches of 8, 12, 9 and 1 rows.
SIZES = (24, 60, 9, 33)
EXAMS = [exams(size, seed) for seed, size in enumerate(SIZES)]
ROUNDING = 1e-6  # a training moves the tensors by about 0.1


def tensors(network: Network) -> NamedTensors:
    return NamedTensors({name: own.detach().clone() for name, own in network.named_parameters()})


def mlp() -> Network:
    return MultilayerPerceptron((6,)).build((5,), 3, 0)


@dataclass
class World:
    """Clients that train once, alone or together; by default those of ``EXAMS``."""

    network: Callable[[], Network] = mlp
    settings: LocalTraining = field(
        default_factory=lambda: LocalTraining(2, 16, OptimizerSettings("sgd", 0.1))
    )
    exams: list[Exams] = field(default_factory=lambda: EXAMS)
    losses: list[Loss] = field(default_factory=lambda: [BinaryCrossEntropy()] * 4)
    terms: list[Any] = field(default_factory=lambda: [None] * 4)

    def tasks(self) -> list[Task]:
        return [
            Task(self.network(), own, loss, self.settings, torch.Generator().manual_seed(k), term)
            for k, (own, loss, term) in enumerate(
                zip(self.exams, self.losses, self.terms, strict=True)
            )
        ]

    def assert_same_together(self, tolerance: float = ROUNDING) -> None:
        alone, together = self.tasks(), self.tasks()
        expected = [train(*task) for task in alone]
        found = train_together(together)
        assert [len(own) for own in found] == [done.num_steps for done in expected]
        for one, other, done, losses in zip(alone, together, expected, found, strict=True):
            assert max_difference(tensors(one.network), tensors(other.network)) <= tolerance
            if losses:
                assert float(torch.stack(losses).mean()) == pytest.approx(done.mean_loss, abs=1e-5)


def max_difference(one: NamedTensors, other: NamedTensors) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def moved(world: World) -> float:
    """How far a training moves the tensors: what the differences are small beside."""
    task = world.tasks()[1]
    before = tensors(task.network)
    train(*task)
    return max_difference(before, tensors(task.network))


def test_a_training_moves_the_tensors_far_more_than_it_is_rounded() -> None:
    assert moved(World()) > 1e5 * ROUNDING / 2


@pytest.mark.parametrize("name", components.names("losses"))
def test_every_loss_sees_the_rows_of_its_client_alone(name: str) -> None:
    """Once the same for all clients, and once localised to the labels of each."""
    loss: Loss = components.build("losses", name)
    counts = sum((own.statistics() for own in EXAMS[1:]), EXAMS[0].statistics())
    bound = loss.bind(counts)
    World(losses=[replace(bound) for _ in EXAMS]).assert_same_together()  # type: ignore[type-var]
    labels = [(torch.from_numpy(own.target), torch.from_numpy(own.known)) for own in EXAMS]
    World(losses=[bound.localise(*own) for own in labels]).assert_same_together()


def test_clients_may_have_different_losses() -> None:
    names = ("bce", "two_way", "bce", "focal")
    World(losses=[components.build("losses", name) for name in names]).assert_same_together()


@dataclass(frozen=True)
class Deciding(BinaryCrossEntropy):
    """It looks at values, which vmap cannot, and it has no hash."""

    seen: list[int] = field(default_factory=list)

    def __call__(self, logits: Tensor, target: Tensor, known: Tensor, *_: Any) -> Tensor:
        value = super().__call__(logits, target, known)
        return value * 2 if float(value.detach()) > 0.6 else value


def test_a_loss_may_look_at_values() -> None:
    World(losses=[Deciding()] * 4).assert_same_together()
    World(losses=[Deciding() for _ in EXAMS]).assert_same_together()


@pytest.mark.parametrize(
    "optimizer",
    [
        OptimizerSettings("sgd", 0.1),
        OptimizerSettings("sgd", 0.1, momentum=0.9),
        OptimizerSettings("sgd", 0.1, momentum=0.9, weight_decay=0.1),
        OptimizerSettings("adam", 0.01, weight_decay=0.1),
        OptimizerSettings("adamw", 0.01, weight_decay=0.1),
    ],
    ids=lambda own: f"{own.name}-{own.momentum}-{own.weight_decay}",
)
@pytest.mark.parametrize("clip_norm", [0.0, 0.2])
def test_every_optimiser_keeps_its_memory_of_each_client(
    optimizer: OptimizerSettings, clip_norm: float
) -> None:
    """Clients leave the stack one after the other; what is remembered of the others stays."""
    # Adam divides by the root of squares near zero: rounding is enlarged where a gradient is tiny.
    tolerance = ROUNDING if optimizer.name == "sgd" else 2e-5
    World(settings=LocalTraining(2, 16, optimizer, clip_norm=clip_norm)).assert_same_together(
        tolerance
    )


def test_the_norm_is_capped_for_each_client_by_itself() -> None:
    """One whose gradient is a thousand times as long leaves the others' as they are."""
    long = replace(EXAMS[1], images=np.asarray(EXAMS[1].images) * 1000)
    settings = LocalTraining(2, 16, OptimizerSettings("sgd", 0.1), clip_norm=0.3)
    linear = lambda: Linear().build((5,), 3, 0)  # noqa: E731
    World(linear, settings, [EXAMS[0], long, *EXAMS[2:]]).assert_same_together(5e-6)


def test_a_gradient_term_is_added_to_its_own_client() -> None:
    def pulling(strength: float) -> Any:
        return lambda parameters: {n: strength * own for n, own in parameters.items()}

    World(terms=[None, pulling(0.5), pulling(-0.2), None]).assert_same_together()


@pytest.mark.parametrize(
    "architecture",
    [
        Linear(),
        MultilayerPerceptron((7, 4)),
        MultilayerPerceptron((6,), normalise=False),
        LabelGraphNetwork("linear", edges=1),
    ],
    ids=["linear", "mlp of two layers", "mlp without norm", "label_graph"],
)
def test_every_network_of_features_can_be_stacked(architecture: Any) -> None:
    def build() -> Network:
        network: Network = architecture.build((5,), 3, 0)
        if network.graph is not None:
            network.graph.coupling.data[0, 1] = 0.7  # type: ignore[union-attr, index]
        return network

    assert can_be_stacked(build())
    World(build).assert_same_together()


def test_a_frozen_tensor_stays() -> None:
    def build() -> Network:
        network = mlp()
        network.encoder.get_parameter("1.weight").requires_grad_(False)
        return network

    World(build).assert_same_together()


class Doubling(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return value * 2


def test_a_layer_that_is_not_known_here_is_stacked_by_vmap() -> None:
    def build() -> Network:
        torch.manual_seed(0)
        layers = [nn.Linear(5, 4, bias=False), nn.LayerNorm(4, bias=False), nn.GELU(), Doubling()]
        return Network(nn.Sequential(*layers), 4, 3)

    World(build).assert_same_together()


def test_bfloat16_is_that_of_the_plain_loop_up_to_its_own_rounding() -> None:
    settings = LocalTraining(1, 16, OptimizerSettings("sgd", 0.1), precision="bfloat16")
    World(settings=settings).assert_same_together(tolerance=5e-3)


def test_batches_without_a_known_entry_are_no_steps() -> None:
    """Some exams of the second client are annotated, and none of the third."""
    known = [own.known.copy() for own in EXAMS]
    known[1][6:] = False
    known[2][:] = False
    parts = [replace(own, known=mask) for own, mask in zip(EXAMS, known, strict=True)]
    settings = LocalTraining(3, 4, OptimizerSettings("sgd", 0.1, momentum=0.9))
    world = World(settings=settings, exams=parts)
    steps = [len(own) for own in train_together(world.tasks())]
    assert steps[2] == 0
    assert 0 < steps[1] < 3 * 15
    world.assert_same_together()


def test_nobody_may_have_a_known_entry() -> None:
    nothing = [replace(own, known=np.zeros_like(own.known)) for own in EXAMS]
    World(exams=nothing).assert_same_together()


def test_features_may_be_rows_of_a_larger_array_and_augmentation_leaves_them() -> None:
    whole = np.concatenate([np.asarray(own.images) for own in EXAMS])
    ends = np.cumsum([0, *SIZES])
    views = [
        replace(own, images=Rows(whole, np.arange(ends[k], ends[k + 1])))
        for k, own in enumerate(EXAMS)
    ]
    augmentation = Augmentation(rotation_degrees=5.0)
    settings = LocalTraining(2, 16, OptimizerSettings("sgd", 0.1), augmentation)
    World(settings=settings, exams=views).assert_same_together()


def test_what_unknown_entries_and_the_rows_of_smaller_batches_hold_is_never_seen() -> None:
    unknown = [replace(own, target=np.where(own.known, own.target, np.nan)) for own in EXAMS]
    World(exams=unknown).assert_same_together()


# The runtime


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "moon", "fedlsm"])
def test_neither_size_nor_workers_change_a_result_beyond_rounding(
    algorithm: str, workers: int, size: int
) -> None:
    expected, remembered = play(*simulation(InProcess(), algorithm))
    found, own = play(*simulation(Stacked(size, workers), algorithm))
    assert_same(found.model, expected.model, exact=False)
    assert own.keys() == remembered.keys()


PARTS = hospital_parts((8,) * 6)
CLIENTS = runtime(PARTS).members
START = NamedTensors({n: p.detach() for n, p in CLIENTS[0].network.named_parameters()})


class Sending(FedAvg):
    """Each client trains as often as its place says, and sends its name's number."""

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Any
    ) -> tuple[Update, ClientState]:
        number = int(work.client.name.rpartition("-")[2])  # type: ignore[attr-defined]
        for _ in range(number % 3):
            work.train(broadcast.model)
        self.act(number)
        sent = NamedTensors({"number": torch.tensor(float(number))})
        return Update(sent, sent), state

    def act(self, number: int) -> None:
        """What a client does besides."""


def numbers(
    method: FedAvg, size: int = 4, workers: int = 2, own: LocalRuntime | None = None
) -> Iterator[int]:
    run = (own or Stacked(size, workers)).over(CLIENTS, method, ByKnownEntries())
    for _, update in run.train(Broadcast(0, START), run.clients):
        yield int(update.weight["number"])


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Every thread ends with its round."""
    yield
    names = ("client", "stack")
    assert not [own.name for own in threading.enumerate() if own.name.startswith(names)]


def test_clients_may_train_several_times_or_never() -> None:
    assert list(numbers(Sending())) == [0, 1, 2, 3, 4, 5]


def test_those_who_wait_train_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []

    def spied(tasks: list[Task], stop: Callable[[], None]) -> list[list[Tensor]]:
        together.append(len(tasks))
        return train_together(tasks, stop)

    monkeypatch.setattr(stacked, "train_together", spied)
    list(numbers(Sending(), size=6, workers=1))
    assert together == [4, 2]  # four train at least once, two of them again
    together.clear()
    list(numbers(Sending(), size=3, workers=1))
    assert together == [2, 1, 2, 1]


def test_an_error_is_raised_when_it_is_the_turn_of_its_client() -> None:
    class Failing(Sending):
        def act(self, number: int) -> None:
            if number == 3:
                raise ValueError("of the fourth")

    running = numbers(Failing(), size=6)
    assert [next(running) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="of the fourth"):
        next(running)


def test_a_client_that_diverges_harms_no_other_one() -> None:
    """Updates before its own are what they are without it; then the round ends with its error."""
    part = CLIENTS[4].parts["train"]
    endless = replace(part, images=np.full_like(part.images, np.inf))
    network = linear_network(PARTS)  # it will hold what is not finite
    members = [replace(own, network=network) for own in CLIENTS]
    members[4] = replace(members[4], parts={"train": endless})
    kept: list[list[Update]] = []
    for how in (Stacked(6, 1), InProcess()):
        run = how.over(members, FedAvg(), ByKnownEntries())
        replies = run.train(Broadcast(0, START), run.clients)
        kept.append([next(replies)[1] for _ in range(4)])
        with pytest.raises(DivergenceError, match="lower the learning rate"):
            next(replies)
    for left, right in zip(*kept, strict=True):
        assert_same(left.weighted_delta, right.weighted_delta, exact=False)


def test_updates_are_given_on_as_soon_as_they_are_there() -> None:
    """No more of them are held than the algorithm's own steps make wait."""
    begun: list[int] = []

    class Counting(FedAvg):
        def client_update(self, broadcast, state, work, weighting):  # type: ignore[no-untyped-def]
            update = super().client_update(broadcast, state, work, weighting)
            begun.append(1)
            return update

    run = Stacked(6, 1).over(CLIENTS, Counting(), ByKnownEntries())
    for taken, _ in enumerate(run.train(Broadcast(0, START), run.clients), 1):
        assert len(begun) == taken


@pytest.mark.parametrize("alone", [False, True])
def test_a_round_that_nobody_wants_any_more_ends_at_the_next_step(alone: bool) -> None:
    """Ctrl-C and an error end a round in the same way, whoever still trains."""
    steps: list[int] = []
    short, long = (LocalTraining(e, 4, OptimizerSettings("sgd", 0.01)) for e in (1, 500))
    members = [replace(own, training=long, loss=Counting(steps)) for own in CLIENTS[:3]]
    members[0] = replace(CLIENTS[0], training=short)

    class Long(FedAvg):
        def client_update(self, broadcast, state, work, weighting):  # type: ignore[no-untyped-def]
            first = work.client.name == CLIENTS[0].name
            term = (lambda step: step.logits.sum() * 0) if alone and not first else None
            trained, _ = work.train(broadcast.model, loss_term=term)
            assert first, "a training of a thousand steps was not stopped"
            return Update(trained, trained), state

    run = Stacked(3, workers=3).over(members, Long(), ByKnownEntries())
    replies = run.train(Broadcast(0, START), run.clients)
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert len(steps) < 1000 / 2


@dataclass(frozen=True)
class Counting(BinaryCrossEntropy):
    """It writes down each call. It has no hash, so two of them are never one."""

    calls: list[int] = field(default_factory=list)

    def __call__(self, *labels: Any) -> Tensor:
        self.calls.append(1)
        return super().__call__(*labels)


def test_two_rounds_at_once_do_not_share_a_network() -> None:
    crew = Stacked(6, 1)
    run = crew.over(CLIENTS, FedAvg(), ByKnownEntries())
    first = run.train(Broadcast(0, START), run.clients)
    begun = [next(first)[1]]
    second = [update for _, update in run.train(Broadcast(0, START), run.clients)]
    for left, right in zip([*begun, *(u for _, u in first)], second, strict=True):
        assert_same(left.weighted_delta, right.weighted_delta, exact=True)


def test_networks_are_kept_from_round_to_round() -> None:
    crew = Stacked(3, 1).crew(CLIENTS, 2)
    run = Stacked(3, 1).over(CLIENTS, FedAvg(), ByKnownEntries())
    run = replace(run, crew=crew)
    for _ in range(3):
        list(run.train(Broadcast(0, START), run.clients))
    assert [len(networks) for networks in crew._kept] == [3]  # type: ignore[attr-defined]


def test_each_client_computes_with_one_operator_thread() -> None:
    seen: set[int] = set()

    class Looking(Sending):
        def act(self, number: int) -> None:
            seen.add(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(numbers(Looking()))
        assert seen == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_answers_are_those_of_the_members_themselves() -> None:
    """They keep what they computed: no copies answer."""
    members = [replace(own, _features={}) for own in CLIENTS]
    run = Stacked().over(members, FedAvg(), ByKnownEntries())
    list(run.ask(EvaluationRequest(START, "test"), run.clients))
    assert all(client._features for client in members)


def test_images_are_refused_with_the_remedy() -> None:
    part = CLIENTS[0].parts["train"]
    images = replace(part, images=np.zeros((len(part), 4, 4), np.uint8))
    with pytest.raises(InputError, match=r'images.*set runtime = "parallel"'):
        Stacked().crew([*CLIENTS, replace(CLIENTS[0], parts={"train": images})], 2)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(5), nn.BatchNorm1d(5, track_running_stats=False), nn.Dropout(0.5)]
)
def test_a_network_that_cannot_be_stacked_is_refused(layer: nn.Module) -> None:
    """Padded rows would be seen, or every client would draw the same."""
    network = Network(layer, 5, 3)
    with pytest.raises(InputError, match=r'when it is stacked; set runtime = "parallel"'):
        Stacked().crew([replace(CLIENTS[0], network=network)], 2)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="size=0"):
        Stacked(size=0)
    with pytest.raises(InputError, match="workers=0"):
        Stacked(workers=0)
