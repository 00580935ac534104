"""The rounds: which round is the best, who is asked, when one looks, what is committed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from concilium.algorithms.contract import LocalWork
from concilium.algorithms.fedavg import FedAvg
from concilium.federation.messages import Broadcast, Update
from concilium.federation.sharing import travelling
from concilium.federation.states import ClientState, ServerState
from concilium.foundation.errors import InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.contract import Simulation
from concilium.samplings.contract import Sampling
from concilium.samplings.uniform import Uniform
from concilium.samplings.weighted import Weighted
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages
from concilium.weightings.contract import Weighting
from concilium.weightings.equal import Equal
from tests.worlds import exams, full_batch_step, hospital_parts, linear_network, runtime

PARTS = hospital_parts((60, 40, 50))
NAN = math.nan


def start() -> Progress:
    return Progress(ServerState(0, travelling(linear_network(PARTS)), len(PARTS)))


def scored(
    scores: Sequence[float], schedule: Schedule, checkpoints: Checkpoints | None = None
) -> Progress:
    """Rounds in which each look sees the next of these scores."""
    looks = iter(scores)
    own: Simulation = runtime(PARTS)
    return run_rounds(
        start(),
        schedule,
        FedAvg(),
        own,
        lambda model: {"validation_score": next(looks)},
        checkpoints,
        silent,
    )


def test_the_best_round_is_the_first_with_the_highest_defined_score() -> None:
    end = scored([NAN, 0.2, 0.7, 0.7, 0.4], Schedule(5))
    assert end.best is not None
    assert (end.best.round, end.best.score) == (3, 0.7)
    assert end.best.model.digest() == end.history[2]["model"]
    assert end.best.model.digest() != end.server.model.digest()


def test_without_a_defined_score_no_round_is_the_best() -> None:
    assert scored([NAN, NAN], Schedule(2)).best is None


def test_one_looks_after_every_so_many_rounds_and_after_the_last() -> None:
    end = scored([0.1, 0.3, 0.2], Schedule(5, evaluate_every=2))
    seen = ["validation_score" in record for record in end.history]
    assert seen == [False, True, False, True, True]


@pytest.mark.parametrize("rounds", [3, 4])
def test_every_so_many_rounds_and_the_last_are_committed(tmp_path: Path, rounds: int) -> None:
    checkpoints = Checkpoints(tmp_path, "study")
    scored([0.1] * rounds, Schedule(rounds, checkpoint_every=2), checkpoints)
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["00002", f"{rounds:05d}"]
    found = checkpoints.load()
    assert found is not None and found.server.round == rounds


def test_bytes_up_are_those_that_the_updates_of_the_cohort_say() -> None:
    """Each sends the model and two weights in float32; one says that it sent 1 byte instead."""

    class Compressed(Simulation):
        def train(self, broadcast: Any, cohort: Sequence[str]) -> Iterator[tuple[str, Any]]:
            for name, update in super().train(broadcast, cohort):
                smaller = name == "hospital-1"
                yield name, replace(update, num_bytes=1) if smaller else update

    own = runtime(PARTS)
    own = Compressed(own.members, own.algorithm, own.weighting, own.crew)
    end = run_rounds(start(), Schedule(1), FedAvg(), own, lambda model: {}, None, silent)
    one = start().server.model.num_bytes() + 2 * 4
    assert end.history[0]["bytes_up"] == 2 * one + 1


def test_the_seed_of_the_schedule_draws_the_cohorts() -> None:
    def cohorts(seed: int) -> list[list[str]]:
        own = runtime(hospital_parts((9,) * 8))
        schedule = Schedule(4, participation=0.5, seed=seed)
        end = run_rounds(start(), schedule, FedAvg(), own, lambda model: {}, None, silent)
        return [list(record["cohort"]) for record in end.history]

    # Four times 4 of 8 hospitals: by chance the same with probability 70^−4.
    assert cohorts(1) == cohorts(1) != cohorts(2)
    assert len({tuple(cohort) for cohort in cohorts(1)}) > 1
    assert all(len(cohort) == 4 for cohort in cohorts(1))


@dataclass(frozen=True)
class Listening(Simulation):
    """A runtime that writes down what it is asked."""

    asked: list[tuple[str, int]] = field(default_factory=list)

    def ask(self, request: Any, cohort: Sequence[str]) -> Iterator[tuple[str, Any]]:
        self.asked.append((type(request).__name__, len(cohort)))
        return super().ask(request, cohort)


def listening(sizes: tuple[int, ...]) -> Listening:
    own = runtime(hospital_parts(sizes))
    return Listening(own.members, own.algorithm, own.weighting, own.crew)


def cohorts_of(
    own: Simulation, schedule: Schedule, checkpoints: Checkpoints | None = None
) -> list[list[str]]:
    """Cohorts of all rounds, from the newest checkpoint on."""
    progress = (checkpoints.load() if checkpoints else None) or start()
    end = run_rounds(progress, schedule, FedAvg(), own, lambda model: {}, checkpoints, silent)
    return [list(record["cohort"]) for record in end.history]


def test_sizes_are_asked_once_and_only_where_they_decide_who_takes_part() -> None:
    for sampling, participation, expected in [
        (Weighted(), 0.5, [("NumTrainingImages", 4)]),
        (Weighted(), 1.0, []),
        (Uniform(), 0.5, []),
    ]:
        own = listening((9, 9, 9, 9))
        cohorts_of(own, Schedule(3, participation, sampling=sampling))
        assert own.asked == expected


def test_a_hospital_of_most_images_is_in_every_weighted_cohort() -> None:
    own = runtime(hospital_parts((4, 90, 5, 6)))
    weighted = cohorts_of(own, Schedule(8, 0.5, sampling=Weighted()))
    assert all("hospital-1" in cohort for cohort in weighted)
    assert {name for cohort in weighted for name in cohort} == set(own.clients)
    uniform = cohorts_of(own, Schedule(8, 0.5))
    assert not all("hospital-1" in cohort for cohort in uniform)


@pytest.mark.parametrize("sampling", [Uniform(), Weighted()], ids=["uniform", "weighted"])
def test_a_resumed_run_asks_the_same_clients(sampling: Sampling, tmp_path: Path) -> None:
    sizes = (3, 9, 5, 14, 7)
    checkpoints = Checkpoints(tmp_path, "study")
    whole = cohorts_of(runtime(hospital_parts(sizes)), Schedule(4, 0.4, sampling=sampling))
    cohorts_of(runtime(hospital_parts(sizes)), Schedule(2, 0.4, sampling=sampling), checkpoints)
    again = runtime(hospital_parts(sizes))
    assert cohorts_of(again, Schedule(4, 0.4, sampling=sampling), checkpoints) == whole
    assert len({tuple(cohort) for cohort in whole}) > 1


@pytest.mark.parametrize(
    ("sampling", "weighting"),
    [(Uniform(), ByImages()), (Weighted(), Equal())],
    ids=["uniform", "weighted"],
)
def test_two_hundred_hospitals_of_one_to_some_hundred_images_learn(
    sampling: Sampling, weighting: Weighting
) -> None:
    """Three rounds of 20 hospitals: the loss falls from 0.66 to 0.51 with either sampling."""
    generator = np.random.default_rng(0)
    sizes = np.exp(generator.uniform(0, math.log(400), 200)).astype(int)
    assert (sizes.min(), sizes.max() > 300) == (1, True)
    parts = {f"h{k:03d}": {"train": exams(int(n), k)} for k, n in enumerate(sizes)}
    one_step = LocalTraining(1, 512, OptimizerSettings("sgd", 4.0))
    own = runtime(parts, one_step, weighting=weighting)
    schedule = Schedule(3, participation=0.1, seed=1, sampling=sampling)
    end = run_rounds(start(), schedule, FedAvg(), own, lambda model: {}, None, silent)
    losses = [float(record["loss"]) for record in end.history]
    assert losses[-1] < losses[0] - 0.1
    assert all(len(record["cohort"]) == 20 for record in end.history)
    asked = [int(sizes[int(n[1:])]) for record in end.history for n in record["cohort"]]
    # E[size | drawn in proportion to size] is Σn²/Σn (223), drawn alike it is the mean (84).
    assert (np.mean(asked) > 150) == sampling.needs_sizes


def test_without_decay_every_round_has_the_whole_rate_with_a_cosine_it_falls_to_almost_0() -> None:
    assert [Schedule(4).pace(k) for k in range(4)] == [1.0] * 4
    falling = [Schedule(4, decay="cosine").pace(k) for k in range(4)]
    half = math.sqrt(0.5)
    assert falling == pytest.approx([1, (1 + half) / 2, 0.5, (1 - half) / 2])


def test_a_decay_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match=r"decay.*cosine"):
        Schedule(4, decay="cosinus")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Watching(FedAvg):
    """FedAvg that writes down the learning rate that it is told."""

    rates: list[float] = field(default_factory=list)

    def client_update(
        self, broadcast: Broadcast, state: ClientState, work: LocalWork, weighting: Weighting
    ) -> tuple[Update, ClientState]:
        self.rates.append(work.optimizer.learning_rate)
        return super().client_update(broadcast, state, work, weighting)


def test_each_round_steps_at_its_own_rate_and_algorithms_are_told_it() -> None:
    schedule, algorithm = Schedule(3, decay="cosine"), Watching()
    own = runtime(PARTS, full_batch_step(0.2), algorithm=algorithm)
    models = [start().server.model]

    def keep(model: NamedTensors) -> dict[str, object]:
        models.append(model)
        return {}

    run_rounds(start(), schedule, algorithm, own, keep, None, silent)
    rates = [0.2 * schedule.pace(k) for k in range(3)]
    assert algorithm.rates == pytest.approx([rate for rate in rates for _ in PARTS])
    for k, rate in enumerate(rates):
        progress = Progress(ServerState(0, models[k], len(PARTS)))
        alone = runtime(PARTS, full_batch_step(rate))
        end = run_rounds(progress, Schedule(1), FedAvg(), alone, lambda _: {}, None, silent)
        for name, tensor in end.server.model.items():
            torch.testing.assert_close(tensor, models[k + 1][name])


def test_a_rate_that_falls_goes_on_falling_after_a_crash(tmp_path: Path) -> None:
    schedule = Schedule(4, decay="cosine")

    def run(progress: Progress, checkpoints: Checkpoints, crash_after: int = 9) -> Progress:
        def inspect(model: NamedTensors) -> dict[str, object]:
            nonlocal crash_after
            crash_after -= 1
            if not crash_after:
                raise KeyboardInterrupt
            return {}

        own = runtime(PARTS)
        return run_rounds(progress, schedule, FedAvg(), own, inspect, checkpoints, silent)

    whole = run(start(), Checkpoints(tmp_path / "whole", "study"))
    stopped = Checkpoints(tmp_path / "stopped", "study")
    with pytest.raises(KeyboardInterrupt):
        run(start(), stopped, crash_after=3)
    found = stopped.load()
    assert found is not None and found.server.round == 2
    assert run(found, stopped).server.model.digest() == whole.server.model.digest()
