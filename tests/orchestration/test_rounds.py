"""The rounds: which round is the best, who is asked, when one looks, what is committed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from concilium.algorithms.fedavg import FedAvg
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.in_process import InProcess
from tests.worlds import hospital_parts, linear_network, runtime

PARTS = hospital_parts((60, 40, 50))
NAN = math.nan


def start() -> Progress:
    return Progress(ServerState(0, travelling(linear_network(PARTS)), len(PARTS)))


def scored(
    scores: Sequence[float], schedule: Schedule, checkpoints: Checkpoints | None = None
) -> Progress:
    """Rounds in which each look sees the next of these scores."""
    looks = iter(scores)
    own: InProcess = runtime(PARTS)
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
