"""The strategy for Flower apps: concilium's own rounds, bit for bit, from Flower's messages."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.exception import AggregationError
from flwr.serverapp.strategy import Result

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.fedopt import FedOpt
from concilium.algorithms.scaffold import Scaffold
from concilium.evaluation.sums import EvaluationSums
from concilium.federation.client import Client
from concilium.federation.messages import total
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.flower.records import evaluation_record, federation_counts, label_counts
from concilium.flower.strategy import ConciliumStrategy
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.logit_adjusted import LogitAdjusted
from concilium.metrics.auroc import Auroc
from concilium.metrics.average_precision import AveragePrecision
from concilium.metrics.sensitivity import Sensitivity
from concilium.networks.mlp import MultilayerPerceptron
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from concilium.weightings.by_known_entries import ByKnownEntries
from concilium.weightings.by_label_evidence import ByLabelEvidence
from concilium.weightings.by_positives import ByPositives
from concilium.weightings.contract import Weighting
from concilium.weightings.surgical import Surgical
from tests.flower.hospitals_in_memory import GridInMemory, context
from tests.worlds import hospital_parts, joined

NODES = (3, 17, 2**63 + 9)


def clients() -> tuple[Client, ...]:
    """Three hospitals with a small network; one of them never annotates the last label."""
    parts = hospital_parts((40, 25, 33))
    parts["hospital-1"]["train"].known[:, 2] = False
    network = MultilayerPerceptron(hidden=(4,)).build((5,), 3, 0)
    training = LocalTraining(1, 16, OptimizerSettings("sgd", 0.1))
    loss = BinaryCrossEntropy()
    return tuple(Client(name, own, network, loss, training, 0) for name, own in parts.items())


def app_of(client: Client, head: str = "head") -> ClientApp:
    """A Flower app around a client; it calls the head by a name of its own."""
    app = ClientApp()

    def model_in(message: Message) -> NamedTensors:
        arrays = message.content["arrays"].to_torch_state_dict()
        return NamedTensors({renamed(name, head, "head"): t for name, t in arrays.items()})

    @app.train()
    def train(message: Message, context: Context) -> Message:
        config = message.content["config"]
        loss = client.loss_under(None)
        trained, _, done = client.train(model_in(message), config["server-round"] - 1, loss)
        arrays = ArrayRecord({renamed(name, "head", head): t for name, t in trained.items()})
        own = client.parts["train"]
        metrics = {"train_loss": done.mean_loss, **label_counts(own.target, own.known)}
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)})
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        scores, own = client.scores(model_in(message), "validation"), client.parts["validation"]
        sums = evaluation_record(scores, own.target, own.known, own.patient)
        return Message(RecordDict({"sums": sums}), reply_to=message)

    return app


def renamed(name: str, old: str, new: str) -> str:
    layer, _, rest = name.partition(".")
    return f"{new if layer == old else layer}.{rest}"


def initial(head: str = "head") -> ArrayRecord:
    model = travelling(clients()[0].network)
    return ArrayRecord({renamed(name, "head", head): t for name, t in model.items()})


def grid(nodes: tuple[int, ...] = NODES, head: str = "head", **own: object) -> GridInMemory:
    own_apps = (app_of(client, head) for client in clients())
    apps = {node: (app, context(node)) for node, app in zip(nodes, own_apps, strict=True)}
    return GridInMemory(dict(sorted(apps.items(), reverse=True)), **own)  # type: ignore[arg-type]


def model_of(result: Result) -> NamedTensors:
    return NamedTensors(result.arrays.to_torch_state_dict())


def start(strategy: ConciliumStrategy, over: GridInMemory | None = None, rounds: int = 2) -> Result:
    return strategy.start(over or grid(), initial(strategy.head), rounds)


def in_concilium(weighting: Weighting, algorithm: Algorithm, rounds: int) -> NamedTensors:
    """The model of concilium's own rounds of the same federation."""
    own = InProcess().over(clients(), algorithm, weighting)
    counts = reduce(add, (client.statistics() for client in clients()))
    server = ServerState(0, travelling(clients()[0].network), 3, label_statistics=counts)
    for _ in range(rounds):
        replies = own.train(algorithm.broadcast(server), own.clients)
        server = algorithm.server_update(server, total(replies, own.clients))
    return server.model


@pytest.mark.parametrize(
    "weighting", [ByKnownEntries(), ByImages(), ByLabelEvidence(), ByPositives(), Surgical()]
)
def test_two_rounds_move_the_model_as_concilium_does_bit_for_bit(weighting: Weighting) -> None:
    result = start(ConciliumStrategy(head="head", weighting=weighting))
    own = in_concilium(weighting, FedAvg(), 2)
    assert model_of(result).digest() == own.digest()
    other = in_concilium(Surgical() if weighting != Surgical() else ByImages(), FedAvg(), 2)
    assert own.digest() != other.digest()  # the weighting matters here


@pytest.mark.parametrize(
    "algorithm",
    [FedAvg(0.5), FedOpt("momentum"), FedOpt("adam"), FedOpt("yogi"), FedOpt("adagrad")],
)
def test_three_rounds_of_every_server_algorithm_too(algorithm: Algorithm) -> None:
    result = start(ConciliumStrategy(head="head", algorithm=algorithm), rounds=3)
    assert model_of(result).digest() == in_concilium(ByKnownEntries(), algorithm, 3).digest()


def test_a_strategy_may_run_again_and_begins_anew() -> None:
    strategy = ConciliumStrategy(head="head", algorithm=FedOpt("momentum"))
    silent: Callable[[Message], list[Message]] = lambda reply: []  # noqa: E731
    start(strategy, grid(meddle={3: silent}), rounds=3)
    first, second = (model_of(start(strategy)).digest() for _ in range(2))
    assert first == second == in_concilium(ByKnownEntries(), FedOpt("momentum"), 2).digest()
    assert set(strategy.sums) == {1, 2} and not any(strategy.left_out.values())


def test_the_head_may_have_any_name_and_rows_of_it_alone_have_their_own_weight() -> None:
    strategy = ConciliumStrategy(head="fc", weighting=ByLabelEvidence())
    result = start(strategy, grid(head="fc"))
    own = in_concilium(ByLabelEvidence(), FedAvg(), 2)
    for name, tensor in model_of(result).items():
        assert torch.equal(tensor, own[renamed(name, "fc", "head")])


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_replies_does_not_change_a_bit(seed: int) -> None:
    def shuffled(replies: list[Message]) -> list[Message]:
        return random.Random(seed).sample(replies, len(replies))

    strategy = ConciliumStrategy(head="head", weighting=ByLabelEvidence())
    plain = start(ConciliumStrategy(head="head", weighting=ByLabelEvidence()))
    mixed = start(strategy, grid(order=shuffled))
    assert model_of(mixed).digest() == model_of(plain).digest()
    assert mixed.train_metrics_clientapp == plain.train_metrics_clientapp
    assert str(mixed) == str(plain)


def test_which_node_is_which_hospital_changes_the_last_bits_at_most() -> None:
    plain = model_of(start(ConciliumStrategy(head="head")))
    other = model_of(start(ConciliumStrategy(head="head"), grid(nodes=(900, 5, 44))))
    assert (plain - other).norm() < 1e-6
    assert plain.norm() > 0.1


def test_the_mean_training_loss_is_that_of_all_known_entries() -> None:
    result = start(ConciliumStrategy(head="head"), rounds=1)
    own = InProcess().over(clients(), FedAvg(), ByKnownEntries())
    server = ServerState(0, travelling(clients()[0].network), 3)
    summed = total(own.train(FedAvg().broadcast(server), own.clients), own.clients)
    report = result.train_metrics_clientapp[1]
    assert report["train_loss"] == pytest.approx(summed.mean_loss(), rel=1e-12)
    assert (report["num-clients"], report["num-left-out"], report["num-examples"]) == (3, 0, 98)


def test_merged_histograms_are_the_pooled_ones_and_metrics_come_from_them() -> None:
    strategy = ConciliumStrategy(head="head")
    result = start(strategy)
    model = model_of(result)
    pooled = joined([client.parts["validation"] for client in clients()])
    scores = np.concatenate([client.scores(model, "validation") for client in clients()])
    sums = EvaluationSums.of(scores, pooled.target, pooled.known, pooled.patient)
    for name, array in strategy.sums[2].to_arrays().items():
        np.testing.assert_array_equal(array, sums.to_arrays()[name], err_msg=name)
    report = result.evaluate_metrics_clientapp[2]
    np.testing.assert_array_equal(report["auroc"], Auroc()(sums))
    np.testing.assert_array_equal(report["average-precision"], AveragePrecision()(sums))
    # It is not the mean of what each hospital measures by itself.
    alone = [
        Auroc()(EvaluationSums.of(client.scores(model, "validation"), *labels_of(client)))
        for client in clients()
    ]
    assert np.abs(np.mean(alone, 0) - report["auroc"]).max() > 0.01
    enough = sums.statistics.positives >= 10  # as everywhere in concilium; here two labels of three
    assert enough.sum() == 2
    assert report["auroc-mean"] == pytest.approx(np.array(report["auroc"])[enough].mean())
    assert (report["num-clients"], report["num-examples"]) == (3, len(scores))


def labels_of(client: Client) -> tuple[object, ...]:
    own = client.parts["validation"]
    return own.target, own.known, own.patient


def test_cohorts_are_drawn_by_the_seed_alone_and_ascend() -> None:
    def cohorts(seed: int) -> list[tuple[str, tuple[int, ...]]]:
        over = grid()
        start(ConciliumStrategy(head="head", seed=seed, fraction_train=0.67), over, 4)
        return over.asked

    state = random.getstate()
    first = cohorts(1)
    random.random()
    assert cohorts(1) == first != cohorts(2)
    random.setstate(state)
    trained = [nodes for kind, nodes in first if kind == "train"]
    assert all(len(nodes) == 2 and nodes == tuple(sorted(nodes)) for nodes in trained)
    assert len(set(trained)) > 1
    assert all(nodes == NODES for kind, nodes in first if kind == "evaluate")


def test_who_sits_out_a_round_keeps_its_part_in_the_counts_of_the_federation() -> None:
    """As in concilium, where a weighting knows the counts of all, whoever takes part."""
    heard: list[int] = []

    class Noting(ByLabelEvidence):
        def __call__(self, delta, own, federation):  # type: ignore[no-untyped-def]
            heard.append(federation.num_images)
            return super().__call__(delta, own, federation)

    strategy = ConciliumStrategy(head="head", weighting=Noting(), fraction_train=0.67)
    start(strategy, rounds=5)
    assert heard[0] < 98 and heard[-1] == 98 and heard == sorted(heard)


def test_clients_are_told_the_counts_of_the_federation_from_the_second_round_on() -> None:
    told = []

    def noting(client: Client) -> ClientApp:
        own, app = app_of(client), ClientApp()

        @app.train()
        def train(message: Message, context: Context) -> Message:
            told.append(federation_counts(message.content["config"]))
            assert message.content["config"]["lr"] == 0.25
            return own(message, context)

        @app.evaluate()
        def evaluate(message: Message, context: Context) -> Message:
            return own(message, context)

        return app

    apps = {n: (noting(c), context(n)) for n, c in zip(NODES, clients(), strict=True)}
    config = ConfigRecord({"lr": 0.25})
    ConciliumStrategy(head="head").start(GridInMemory(apps), initial(), 2, train_config=config)
    assert dict(config) == {"lr": 0.25}  # the caller's own is not written into
    assert told[:3] == [None, None, None]
    everybody = reduce(add, (client.statistics() for client in clients()))
    for counts in told[3:]:
        assert counts is not None and counts.num_images == 98
        np.testing.assert_array_equal(counts.known, everybody.known)
        np.testing.assert_array_equal(counts.positives, everybody.positives)
    assert LogitAdjusted().bind(told[3]) == LogitAdjusted().bind(everybody)


def test_evaluation_can_be_left_out() -> None:
    over = grid()
    result = start(ConciliumStrategy(head="head", fraction_evaluate=0), over)
    assert result.evaluate_metrics_clientapp == {}
    assert [kind for kind, nodes in over.asked if nodes] == ["train", "train"]


def test_waiting_for_nodes_ends_and_says_how_many_there_are() -> None:
    strategy = ConciliumStrategy(head="head", min_nodes=4, wait=0.01)
    with pytest.raises(AggregationError, match=r"3 nodes are there after 0.01 s, min_nodes is 4"):
        start(strategy)


def test_a_node_that_comes_while_others_wait_takes_part() -> None:
    over = grid()
    late = over.nodes.pop(17)
    asked = iter(range(10))

    def arriving() -> list[int]:
        if next(asked) == 1:
            over.nodes[17] = late
        return list(over.nodes)

    over.get_node_ids = arriving  # type: ignore[method-assign]
    start(ConciliumStrategy(head="head", min_nodes=3, wait=0.05), over, 1)
    assert over.asked[0] == ("train", NODES)


def test_below_the_quorum_the_run_ends_with_the_names_of_those_left_out() -> None:
    silent: Callable[[Message], list[Message]] = lambda reply: []  # noqa: E731
    over = grid(meddle={3: silent, 17: silent})
    start(ConciliumStrategy(head="head"), over)  # one of three is enough, if nobody says otherwise
    with pytest.raises(
        AggregationError, match=r"1 of 3 .* quorum is 2; left out: \{3: 'silent', 17"
    ):
        start(ConciliumStrategy(head="head", quorum=2), grid(meddle=over.meddle))


def test_what_cannot_be_had_this_way_is_refused_at_once() -> None:
    with pytest.raises(
        InputError, match=r"Scaffold needs more of a client .*`concilium federation`"
    ):
        ConciliumStrategy(head="head", algorithm=Scaffold())
    with pytest.raises(InputError, match=r"these metrics need them: \['found'\]"):
        ConciliumStrategy(head="head", metrics={"found": Sensitivity()})
    with pytest.raises(InputError, match=r"fraction_train=0.0 must be > 0"):
        ConciliumStrategy(head="head", fraction_train=0.0)
    with pytest.raises(InputError, match=r"head='fc': .* layers are: encoder.*, head"):
        ConciliumStrategy(head="fc").start(grid(), initial(), 1)
