"""Clients in this process: what they are told, what they answer, and what they remember."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from concilium.algorithms.contract import LocalWork
from concilium.algorithms.fedavg import FedAvg
from concilium.algorithms.scaffold import Scaffold
from concilium.federation.messages import Broadcast, Update, total
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.contract import Weighting
from tests.worlds import hospital_parts, linear_network, runtime

PARTS = hospital_parts((60, 40, 50))


@dataclass(frozen=True)
class Listening(BinaryCrossEntropy):
    """BCE that writes down the statistics it is bound to."""

    heard: list[LabelStatistics] = field(default_factory=list)

    def bind(self, statistics: LabelStatistics) -> Loss:
        self.heard.append(statistics)
        return self


class Counting(FedAvg):
    """FedAvg whose clients remember how often they have been asked."""

    def client_update(
        self,
        broadcast: Broadcast,
        state: ClientState,
        work: LocalWork,
        weighting: Weighting,
    ) -> tuple[Update, ClientState]:
        update, _ = super().client_update(broadcast, state, work, weighting)
        before = state.extras.get("times", torch.zeros(1))
        return update, ClientState(NamedTensors({"times": before + 1}))


def test_the_loss_is_bound_to_the_statistics_of_the_federation() -> None:
    loss = Listening()
    own = runtime(PARTS, loss=loss)
    statistics = total(own.ask(StatisticsRequest(), own.clients), own.clients)
    server = ServerState(0, travelling(linear_network(PARTS)), 3, label_statistics=statistics)
    list(own.train(FedAvg().broadcast(server), own.clients))
    assert [heard.num_images for heard in loss.heard] == [60 + 40 + 50] * 3
    assert all(heard is statistics for heard in loss.heard)


def test_the_loss_is_localised_to_each_client_s_own_labels() -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Local(BinaryCrossEntropy):
        def localise(self, target: torch.Tensor, known: torch.Tensor) -> Loss:
            seen.append((target, known))
            return self

    own = runtime(PARTS, loss=Local())
    list(
        own.train(
            FedAvg().broadcast(ServerState(0, travelling(linear_network(PARTS)), 3)), own.clients
        )
    )
    for (target, known), hospital in zip(seen, PARTS.values(), strict=True):
        assert torch.equal(target, torch.from_numpy(hospital["train"].target))
        assert torch.equal(known, torch.from_numpy(hospital["train"].known))


def test_answers_come_from_the_cohort_in_its_order() -> None:
    own = runtime(PARTS)
    answers = list(own.ask(StatisticsRequest(), ("hospital-2", "hospital-0")))
    assert [(name, found.num_images) for name, found in answers] == [
        ("hospital-2", 50),
        ("hospital-0", 60),
    ]
    with pytest.raises(KeyError, match="stranger"):
        list(own.ask(StatisticsRequest(), ("stranger",)))


def test_what_a_client_remembers_is_its_own_and_can_be_restored() -> None:
    own = runtime(PARTS, algorithm=Counting())
    broadcast = own.algorithm.broadcast(ServerState(0, travelling(linear_network(PARTS)), 3))
    for cohort in (("hospital-0", "hospital-1"), ("hospital-0",)):
        list(own.train(broadcast, cohort))
    times = {name: state.extras["times"].item() for name, state in own.client_states.items()}
    assert times == {"hospital-0": 2, "hospital-1": 1}
    again = runtime(PARTS, algorithm=Counting())
    again.restore(own.client_states)
    list(again.train(broadcast, ("hospital-0",)))
    assert again.client_states["hospital-0"].extras["times"].item() == 3


def test_restoring_forgets_what_was_remembered_before() -> None:
    own = runtime(PARTS, algorithm=Counting())
    broadcast = own.algorithm.broadcast(ServerState(0, travelling(linear_network(PARTS)), 3))
    list(own.train(broadcast, ("hospital-0",)))
    early = own.client_states
    list(own.train(broadcast, own.clients))
    own.restore(early)
    assert own.client_states.keys() == {"hospital-0"}
    assert own.client_states["hospital-0"].extras["times"].item() == 1


def test_an_optimiser_that_the_algorithm_refuses_is_refused_before_any_training() -> None:
    adam = LocalTraining(1, 16, OptimizerSettings("adam", 0.001))
    with pytest.raises(InputError, match="scaffold needs plain SGD"):
        runtime(PARTS, adam, algorithm=Scaffold())
