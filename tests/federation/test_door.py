"""The door: every honest answer passes, however odd the hospital, and lies are told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from concilium.evaluation.bootstrap import BootstrapSums
from concilium.evaluation.decoupling import LabelSetCounts
from concilium.evaluation.sums import EvaluationSums
from concilium.federation.client import Client
from concilium.federation.door import Most, check
from concilium.federation.messages import total
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import Sharing, private, travelling
from concilium.federation.states import ServerState
from concilium.foundation import components
from concilium.foundation.errors import DoorError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.networks.mlp import MultilayerPerceptron
from concilium.orchestration.phases import asking
from concilium.runtimes.contract import Simulation
from concilium.runtimes.in_process import InProcess
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from tests.federation.messages_of_all_kinds import requests
from tests.orchestration.hospitals import nobody, without_exams
from tests.worlds import hospital_parts, linear_network

ALGORITHMS = components.names("algorithms")
WEIGHTINGS = components.names("weightings")
COMPRESSIONS = (None, *components.names("compressions"))
MOST = Most(images=1000, weight=1e5)


def odd_hospitals() -> dict[str, Any]:
    """Of sizes from 60 to 1 and 0; without a positive, without a label, with one of three."""
    parts = hospital_parts((60, 9, 1, 40, 33, 20, 5))

    def changed(number: int, change: Callable[[Any], Any]) -> None:
        name = f"hospital-{number}"
        parts[name] = {part: change(exams) for part, exams in parts[name].items()}

    changed(3, lambda own: replace(own, target=own.target * 0))
    changed(4, lambda own: replace(own, known=own.known & False))
    changed(5, lambda own: replace(own, known=own.known & np.array([True, False, False])))
    changed(6, without_exams)
    return parts


PARTS = odd_hospitals()


def federation(
    algorithm: str,
    weighting: str = "by_known_entries",
    loss: str = "bce",
    compression: str | None = None,
    sharing: Sharing = "all",
) -> Simulation:
    network = MultilayerPerceptron((6,)).build((5,), 3, 0)
    training = LocalTraining(1, 16, OptimizerSettings("sgd", 0.1))
    own_loss = components.build("losses", loss)
    clients = [
        Client(
            n, p, network, own_loss, training, 0, sharing=sharing, private=private(network, sharing)
        )
        for n, p in PARTS.items()
    ]
    settings = {"warm_up": 1} if algorithm == "fedmlp" else {}  # what is sent later, too
    return InProcess().over(
        clients,
        components.build("algorithms", algorithm, settings),
        components.build("weightings", weighting),
        None if compression is None else components.build("compressions", compression),
    )


def pass_the_door(own: Simulation, rounds: int = 3) -> None:
    """Let some rounds of honest updates through the door."""
    statistics = asking(own)(StatisticsRequest())
    model = travelling(own.members[0].network, own.members[0].sharing)
    server = ServerState(0, model, len(own.clients), label_statistics=statistics)
    empty = nobody(own)
    for _ in range(rounds):
        broadcast = own.algorithm.broadcast(server)
        ((_, form),) = empty.train(broadcast, empty.clients)
        updates = list(own.train(broadcast, own.clients))
        for _, update in updates:
            check(update, form, MOST)
        server = own.algorithm.server_update(server, total(updates, own.clients))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_honest_updates_of_every_algorithm_pass(algorithm: str, compression: str | None) -> None:
    pass_the_door(federation(algorithm, compression=compression))


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_honest_updates_of_every_algorithm_and_weighting_pass(
    algorithm: str, weighting: str
) -> None:
    for compression in COMPRESSIONS:
        pass_the_door(federation(algorithm, weighting, compression=compression))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("sharing", ["all", "all_but_normalisation"])
def test_honest_updates_of_every_weighting_pass(weighting: str, sharing: Sharing) -> None:
    pass_the_door(federation("fedavg", weighting, sharing=sharing), 1)


@pytest.mark.parametrize("loss", components.names("losses"))
def test_honest_updates_of_every_loss_pass(loss: str) -> None:
    pass_the_door(federation("fedavg", loss=loss))


@pytest.mark.parametrize("part", ["train", "validation"])
def test_honest_answers_of_every_kind_pass(part: str) -> None:
    own = federation("fedavg").members
    (empty,) = nobody(federation("fedavg")).members
    network = linear_network(PARTS)
    for request in requests(1, part):
        form = request.answer(replace(empty, network=network, _features={}))
        for client in own:
            check(request.answer(replace(client, network=network, _features={})), form, MOST)


def statistics() -> LabelStatistics:
    return federation("fedavg").members[0].statistics()


def with_entry(counts: Any, place: tuple[int, int], value: Any) -> Any:
    changed = counts.copy()
    changed[place] = value
    return changed


NOTHING = LabelStatistics.zero(3)
LIES: dict[str, tuple[str, Callable[[LabelStatistics], Any]]] = {
    "a negative count": (
        "negative",
        lambda s: replace(s, both_known=with_entry(s.both_known, (0, 1), -1)),
    ),
    "more present than known": (
        "contradicts",
        lambda s: replace(s, both_present=s.both_known + s.both_present),
    ),
    "more known than images": ("contradicts", lambda s: replace(s, num_images=3, num_patients=3)),
    "more patients than images": ("contradicts", lambda s: replace(s, num_patients=61)),
    "images of no patient": ("contradicts", lambda s: replace(s, num_patients=0)),
    "a pair more often than one of it": (
        "contradicts",
        lambda s: replace(s, both_known=np.full((3, 3), 60) - np.diag([9, 0, 0])),
    ),
    "a pair counted otherwise the other way round": (
        "contradicts",
        lambda s: replace(s, both_present=np.triu(s.both_present)),
    ),
    "more images than any hospital": ("too_much", lambda s: replace(s, num_images=1001)),
    "a number of 80 bits": ("too_much", lambda s: replace(s, num_images=2**80)),
    "a boolean number": ("wrong_type", lambda s: replace(s, num_images=True)),
    "a real number": ("wrong_type", lambda s: replace(s, num_images=60.0)),
    "counts that are real": ("wrong_dtype", lambda s: replace(s, both_known=s.both_known * 1.0)),
    "counts of 32 bits": (
        "wrong_dtype",
        lambda s: replace(s, both_known=s.both_known.astype(np.int32)),
    ),
    "a label too many": (
        "wrong_shape",
        lambda s: replace(s, both_known=np.pad(s.both_known, ((0, 1), (0, 1)))),
    ),
    "an axis too few": ("wrong_shape", lambda s: replace(s, both_known=s.both_known[0])),
    "a dictionary": ("wrong_type", vars),
    "nothing at all": ("wrong_type", lambda s: None),
    "a tensor": ("wrong_type", lambda s: replace(s, both_known=torch.from_numpy(s.both_known))),
}


@pytest.mark.parametrize("lie", LIES)
def test_statistics_that_no_exams_have_are_refused(lie: str) -> None:
    code, change = LIES[lie]
    check(statistics(), NOTHING, MOST)
    with pytest.raises(DoorError) as found:
        check(change(statistics()), NOTHING, MOST)
    assert found.value.code == code, found.value


def evaluated(num: int, thresholds: Any = (0.5, np.nan, np.inf)) -> EvaluationSums:
    generator = np.random.default_rng(num)
    scores = generator.normal(size=(num, 3))
    known = np.ones((num, 3), bool)
    return EvaluationSums.of(scores, scores > 0, known, np.arange(num), thresholds, ((0, 1),))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("wrong_value", lambda s: replace(s, alerts=evaluated(9, (0.5, 0.5, np.inf)).alerts)),
        ("wrong_value", lambda s: replace(s, alerts=evaluated(9, (0.5, np.nan, 1.0)).alerts)),
        (
            "does_not_add_up",
            lambda s: replace(s, alerts=evaluated(9, (0.6, np.nan, np.inf)).alerts),
        ),
        ("contradicts", lambda s: replace(s, positives=s.positives + 1)),
        ("contradicts", lambda s: replace(s, negatives=s.negatives * 0)),
        ("not_finite", lambda s: replace(s, log_loss=s.log_loss * np.nan)),
        ("out_of_range", lambda s: replace(s, log_loss=s.log_loss + 1.1e15)),
        ("out_of_range", lambda s: replace(s, log_loss=s.log_loss + 1e308)),
        ("negative", lambda s: replace(s, log_loss=-s.log_loss)),
        (
            "does_not_add_up",
            lambda s: replace(s, alerts=replace(s.alerts, label_sets=((0, 2),))),
        ),
        ("wrong_shape", lambda s: replace(s, alerts=replace(s.alerts, label_sets=()))),
    ],
)
def test_evaluations_that_nobody_asked_for_are_refused(code: str, change: Any) -> None:
    nothing = evaluated(0)
    check(evaluated(9), nothing, MOST)
    with pytest.raises(DoorError) as found:
        check(change(evaluated(9)), nothing, MOST)
    assert found.value.code == code, found.value


def test_real_numbers_have_a_bound_on_both_sides_in_every_answer() -> None:
    for sent in (1e15, -1e15):
        check(torch.full((2,), sent, dtype=torch.float64), torch.zeros(2).double(), MOST)
        with pytest.raises(DoorError, match=r"out_of_range: the answer is beyond ±1e\+15"):
            check(torch.full((2,), 1.01 * sent).double(), torch.zeros(2).double(), MOST)


def test_a_loss_that_a_fixed_point_sum_has_no_room_for_is_refused() -> None:
    """2^31 / 2 is the most of two hospitals."""
    own, empty = federation("fedavg"), nobody(federation("fedavg"))
    model = travelling(own.members[0].network, "all")
    broadcast = own.algorithm.broadcast(ServerState(0, model, len(own.clients)))
    ((_, form),) = empty.train(broadcast, empty.clients)
    ((_, update),) = own.train(broadcast, own.clients[:1])
    most = replace(MOST, weight=1e12, in_fixed_point=2)
    check(replace(update, loss=2.0**30 - 1), form, most)
    for fields in ({"loss": 2.0**30}, {"loss_weight": 2.0**30}):
        with pytest.raises(DoorError, match="out_of_range: an entry or a weight does not fit"):
            check(replace(update, **fields), form, most)  # type: ignore[arg-type]


SETS = np.array([[False, True], [True, False]])
BROKEN_SETS = {
    "descending": LabelSetCounts(SETS[::-1], np.array([1, 2]), 0),
    "twice": LabelSetCounts(SETS[[0, 0]], np.array([1, 2]), 0),
    "a count too few": LabelSetCounts(SETS, np.array([1]), 0),
    "a count too many": LabelSetCounts(SETS, np.array([1, 2, 3]), 0),
    "none of a set": LabelSetCounts(SETS, np.array([1, 0]), 0),
}


@pytest.mark.parametrize("what", BROKEN_SETS)
def test_label_sets_that_do_not_add_up_are_refused(what: str) -> None:
    nothing = LabelSetCounts(SETS[:0], np.zeros(0, np.int64), 0)
    check(LabelSetCounts(SETS, np.array([1, 2]), 4), nothing, MOST)
    with pytest.raises(DoorError, match=r"does_not_add_up|contradicts"):
        check(BROKEN_SETS[what], nothing, MOST)


def resampled(cells: list[int], counts: Any) -> BootstrapSums:
    return BootstrapSums(2, np.array(cells, np.int64), np.array(counts, np.int32).reshape(-1, 2))


@pytest.mark.parametrize(
    "broken",
    [
        resampled([7, 3], [1, 2, 3, 4]),
        resampled([3, 3], [1, 2, 3, 4]),
        resampled([3], [1, 2, 3, 4]),
        resampled([3, 2 * 2 * 1024], [1, 2, 3, 4]),
        resampled([3, 7], [1, 2, 3, 2**24]),
        replace(resampled([3, 7], [1, 2, 3, 4]), num_labels=3),
    ],
)
def test_histograms_of_replicates_with_wrong_cells_are_refused(broken: BootstrapSums) -> None:
    check(resampled([3, 7], [1, 2, 3, 4]), resampled([], []), MOST)
    with pytest.raises(DoorError, match=r"does_not_add_up|contradicts"):
        check(broken, resampled([], []), MOST)


def test_the_reason_repeats_nothing_that_was_sent() -> None:
    form = NamedTensors({"head.bias": torch.zeros(2)})
    for sent in ({"Mrs. Example": torch.zeros(2)}, {**form, "Mrs. Example": torch.zeros(2)}):
        with pytest.raises(DoorError) as found:
            check(NamedTensors(sent), form, MOST)
        assert "Mrs" not in str(found.value)
    with pytest.raises(DoorError) as found:
        check("Mrs. Example", "x", MOST)
    assert "Mrs" not in str(found.value)
