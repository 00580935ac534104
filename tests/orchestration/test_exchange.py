"""Hospitals elsewhere: the same bits as here; who stays away is named and nobody waits for ever."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from concilium.algorithms.contract import Algorithm
from concilium.algorithms.fedavg import FedAvg
from concilium.compressions.bfloat16 import BFloat16
from concilium.compressions.contract import Compression
from concilium.compressions.top_k import TopK
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.messages import Broadcast
from concilium.federation.questions import CODES, Answer, Introduce, Introduction, Question
from concilium.federation.requests import EvaluationRequest, Request, StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.foundation import components
from concilium.foundation.errors import DivergenceError, FederationError, InputError
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._least_squares import SquaresRequest
from concilium.heads._logistic import LossRequest
from concilium.heads.newton import Newton
from concilium.heads.ridge import Ridge
from concilium.orchestration.carriers import Terms
from concilium.orchestration.checkpoints import Checkpoints
from concilium.orchestration.exchange import Exchange
from concilium.orchestration.observers import Observer, RoundFinished, silent
from concilium.orchestration.phases import (
    Assessment,
    Developed,
    Operation,
    Recipe,
    asking,
    assess,
    develop,
    operate,
    posterior_of,
    watching,
)
from concilium.orchestration.rounds import Schedule
from concilium.runtimes.contract import Runtime, Simulation
from concilium.samplings.weighted import Weighted
from tests.orchestration.hospitals import (
    Deployed,
    Habit,
    Hospitals,
    Later,
    after,
    deployed,
    fails,
    honest,
    of_algorithm,
    refuses,
    says,
    silent_hospital,
)
from tests.worlds import exams, hospital_parts, linear_network, runtime

PARTS = hospital_parts((24, 60, 9, 33))
NAMES = tuple(PARTS)
OTHERS = tuple(name for name in NAMES if name != "hospital-1")
MODEL = travelling(linear_network(PARTS))
ROUNDS = Recipe(Schedule(3))


def some(names: tuple[str, ...]) -> Simulation:
    return runtime({name: PARTS[name] for name in names})


def trained(
    own: Runtime,
    recipe: Recipe = ROUNDS,
    algorithm: Algorithm | None = None,
    checkpoints: Checkpoints | None = None,
    observer: Observer = silent,
) -> Developed:
    watch = watching(asking(own), asking(own), recipe)
    return develop(MODEL, recipe, algorithm or FedAvg(), own, checkpoints, observer, watch)


def hashes(done: Developed) -> list[str]:
    return [record["model"] for record in done.history]


def used(own: Runtime, recipe: Recipe) -> tuple[Developed, Operation, Assessment]:
    """A training and all that follows."""
    done = trained(own, recipe)
    posterior = posterior_of(recipe.prior, done.scores, asking(own))
    operation = operate(done.final, asking(own), lambda s: at_specificity(s, 0.9), posterior)
    return done, operation, assess(done.final, operation, own, recipe, 5, 1)


def without_bytes(history: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in own.items() if not k.startswith("bytes_")} for own in history]


def assert_the_same(one: Any, other: Any) -> None:
    """Two trainings with all that follows are the same, bit for bit."""
    (done, use, found), (others, other_use, other_found) = one, other
    assert done.final.digest() == others.final.digest()
    assert without_bytes(done.history) == without_bytes(others.history)
    assert np.array_equal(use.thresholds, other_use.thresholds, equal_nan=True)
    assert np.array_equal(use.calibration.slope, other_use.calibration.slope)
    for name, own in other_found.by_client.items():
        assert np.array_equal(own.predicted_pairs, found.by_client[name].predicted_pairs)
    assert np.array_equal(found.bootstrap.counts, other_found.bootstrap.counts)


@pytest.mark.parametrize("name", components.names("algorithms"))
def test_rounds_of_every_algorithm_are_those_of_hospitals_here(name: str) -> None:
    """Clients' memories, too: half of the hospitals take part in a round."""
    algorithm = components.build("algorithms", name, {"warm_up": 1} if name == "fedmlp" else {})
    own = of_algorithm(runtime(PARTS), algorithm)
    recipe = Recipe(Schedule(4, participation=0.5, seed=3, evaluate_every=4))
    here = trained(of_algorithm(runtime(PARTS), algorithm), recipe, algorithm)
    away = deployed(own)
    there = trained(away.exchange, recipe, algorithm)
    assert hashes(there) == hashes(here)
    assert all(not account.left_out for account in away.accounts)


@pytest.mark.slow
@pytest.mark.parametrize("head", components.names("heads"))
@pytest.mark.parametrize("prior", ["none", "site"])
def test_every_phase_is_that_of_hospitals_here(head: str, prior: Any) -> None:
    recipe = Recipe(
        Schedule(2, participation=0.5, sampling=Weighted()),
        head=components.build("heads", head),
        label_sets=((0, 1),),
        prior=prior,
    )
    away = deployed(runtime(PARTS))
    assert_the_same(used(away.exchange, recipe), used(runtime(PARTS), recipe))
    assert all(not account.left_out and not account.dropped for account in away.accounts)


def compressed(by: Compression) -> Simulation:
    return replace(runtime(PARTS), compression=by, _states={})


@pytest.mark.parametrize("by", [TopK(fraction=0.1), BFloat16(error_feedback=True)], ids=repr)
def test_compressed_updates_and_their_residuals_are_those_of_hospitals_here(
    by: Compression,
) -> None:
    away = deployed(compressed(by))
    assert hashes(trained(away.exchange)) == hashes(trained(compressed(by)))


def test_a_compressed_update_travels_in_its_small_form() -> None:
    """Of 1,800 entries each is 4 bytes, or 180 of them 8 bytes with their places."""
    parts = {n: {"train": exams(9, k, 600)} for k, n in enumerate(NAMES)}
    model = travelling(linear_network(parts))
    sizes = []
    for by in (None, TopK(fraction=0.1)):
        own = deployed(replace(runtime(parts), compression=by, _states={}))
        assert len(dict(own.exchange.train(Broadcast(0, model), NAMES))) == 4
        sizes.append(own.accounts[0].bytes_up / 4)
    assert 7200 < sizes[0] < 7200 + 1500
    assert 1440 < sizes[1] < 1440 + 1500


def packed(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda e: replace(e, packed=NamedTensors({**e.packed, name: value(e.packed[name])}))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("wrong_form", packed("shape|head.bias", lambda t: t * 10**8)),
        ("wrong_form", packed("shape|head.bias", lambda t: t.long())),
        ("wrong_form", packed("places|head.weight", lambda t: t + 1000)),
        ("wrong_form", packed("places|head.weight", lambda t: -t - 1)),
        ("wrong_form", packed("places|head.weight", lambda t: t * 0)),
        ("wrong_form", packed("places|head.weight", lambda t: t[1:])),
        ("wrong_form", packed("values|head.weight", lambda t: t.double())),
        ("wrong_form", lambda e: replace(e, packed=NamedTensors({"a": torch.zeros(1)}))),
        ("wrong_type", lambda e: replace(e, packed={"a": 1})),
        ("not_finite", packed("values|head.weight", lambda t: t * math.nan)),
        ("wrong_shape", lambda e: replace(e, weight=e.weight.map(lambda t: t.expand(9, 1, 1)))),
        ("negative", lambda e: replace(e, weight=e.weight * -1.0)),
        ("not_one_client", lambda e: replace(e, num_clients=2)),
    ],
)
def test_a_compressed_update_that_lies_is_refused(code: str, change: Any) -> None:
    own = compressed(TopK(fraction=0.3))
    away = deployed(own, {"hospital-1": only(broadcasts(1), says(change))})
    assert reasons(trained(away.exchange)) == [{}, {"hospital-1": code}, {}]


def test_a_compressed_update_is_refused_where_the_study_compresses_nothing() -> None:
    own = compressed(TopK())
    away = deployed(runtime(PARTS), hospitals=Hospitals(own), terms=Terms(quorum=4))
    with pytest.raises(FederationError, match="wrong_type: the update is compressed"):
        trained(away.exchange)


def test_what_a_fixed_point_sum_has_no_room_for_is_left_out() -> None:
    """It would end the training: 2^31 / 4 is the largest entry of four hospitals' sum."""

    def large(update: Any) -> Any:
        return replace(update, weighted_delta=update.weighted_delta.map(lambda t: t + 2.0**29))

    recipe = Recipe(Schedule(3, arithmetic="fixed_point"))
    away = deployed(
        runtime(PARTS), {"hospital-1": only(broadcasts(1), says(large))}, fixed_point=True
    )
    done = trained(away.exchange, recipe)
    assert reasons(done) == [{}, {"hospital-1": "out_of_range"}, {}]
    assert done.history[0]["model"] == trained(runtime(PARTS), recipe).history[0]["model"]


def only(condition: Callable[[Question], bool], habit: Habit) -> Habit:
    """The habit where a question is such a one, else honest."""
    return lambda question, answer: (habit if condition(question) else honest)(question, answer)


def broadcasts(*rounds: int) -> Callable[[Question], bool]:
    """The questions of these rounds, counted from 0; of all where none are given."""
    return lambda question: (
        isinstance(question.what, Broadcast) and (not rounds or question.what.round in rounds)
    )


def late(seconds: float) -> Habit:
    return lambda question, answer: after(seconds, answer)


def reasons(done: Developed) -> list[dict[str, str]]:
    """Who was left out of each round, with the code of the reason."""
    return [
        {name: why.partition(":")[0] for name, why in record.get("left_out", {}).items()}
        for record in done.history
    ]


def without_in_rounds(*rounds: int) -> list[str]:
    """The models where hospital-1 takes no part in these rounds, and in the others it does."""

    class Partly(Simulation):
        def train(self, broadcast: Any, cohort: Any) -> Any:
            here = [n for n in cohort if broadcast.round not in rounds or n != "hospital-1"]
            return super().train(broadcast, here)

    own = runtime(PARTS)
    return hashes(trained(Partly(own.members, own.algorithm, own.weighting, own.crew)))


@pytest.mark.parametrize(
    ("habit", "code"),
    [
        (silent_hospital, "silent"),
        (late(60.0), "silent"),
        (fails("failed", "failed"), "failed"),
        (fails("unreachable", "failed", "unreachable"), "failed"),
        (refuses("disk_full"), "disk_full"),
    ],
    ids=["silent", "late", "failing", "unreachable", "refusing"],
)
def test_who_stays_away_in_a_round_is_named_and_the_others_go_on(habit: Habit, code: str) -> None:
    away = deployed(
        runtime(PARTS),
        {"hospital-1": only(broadcasts(1), habit)},
        Terms(deadline=50, quorum=3, retries=1),
    )
    done = trained(away.exchange)
    assert reasons(done) == [{}, {"hospital-1": code}, {}]
    assert hashes(done) == without_in_rounds(1)
    assert hashes(done) != hashes(trained(runtime(PARTS)))


def test_a_round_ends_by_its_deadline_and_a_dead_hospital_costs_it_once() -> None:
    away = deployed(
        runtime(PARTS), {"hospital-1": silent_hospital}, Terms(deadline=50, quorum=3, grace=4)
    )
    done = trained(away.exchange)
    seconds = [account.seconds for account in away.accounts]
    assert seconds[0] == 50.0 and set(seconds[1:]) == {4.0}
    assert reasons(done) == [{"hospital-1": "silent"}] * 3
    assert away.accounts[0].left_out["hospital-1"] == "silent: nothing came within 50 s"


def test_a_slow_hospital_is_waited_for_again_once_its_late_answer_has_come() -> None:
    """It takes 60 s for the second round, too long; in the third it has its whole time again."""
    slow = only(broadcasts(1), late(60.0))
    usual = only(broadcasts(2), late(45.0))
    away = deployed(
        runtime(PARTS),
        {"hospital-1": lambda q, a: slow(q, a) if broadcasts(1)(q) else usual(q, a)},
        Terms(deadline=50, quorum=3, grace=12),
    )
    done = trained(away.exchange, Recipe(Schedule(3, evaluate_every=3)))
    assert reasons(done) == [{}, {"hospital-1": "silent"}, {}]
    dropped = [each for account in away.accounts for each in account.dropped]
    assert dropped == ["stale: hospital-1 answers another question"]


def stale(question: Question, answer: Answer) -> Later:
    return after(1.0, replace(answer, number=answer.number + 1))


def test_a_hospital_that_answers_other_questions_only_costs_the_deadline_once_more() -> None:
    """However many such letters come: what excuses a slow hospital excuses it once."""
    away = deployed(runtime(PARTS), {"hospital-1": stale}, Terms(deadline=50, quorum=3, grace=4))
    for _ in range(4):
        asking(away.exchange)(StatisticsRequest())
    assert [account.seconds for account in away.accounts] == [50, 4, 4, 4]
    late_then_stale = [silent_hospital, stale, stale, honest, silent_hospital, stale, stale]
    turns = iter(late_then_stale)

    def by_turns(question: Question, answer: Answer) -> Later:
        return next(turns)(question, answer)

    away = deployed(
        runtime(PARTS),
        {"hospital-1": by_turns},
        Terms(deadline=50, quorum=3, grace=4),
    )
    for _ in late_then_stale:
        asking(away.exchange)(StatisticsRequest())
    assert [account.seconds for account in away.accounts] == [50, 50, 4, 1, 50, 50, 4]


def test_of_a_flood_of_letters_a_hundred_are_listed() -> None:
    def flood(question: Question, answer: Answer) -> Later:
        return [*after(0.5, replace(answer, number=0)) * 300, *honest(question, answer)]

    away = deployed(runtime(PARTS), {"hospital-1": flood})
    asking(away.exchange)(StatisticsRequest())
    assert away.accounts[0].answered == NAMES
    assert len(away.accounts[0].dropped) == 101
    assert away.accounts[0].dropped[-1].startswith("more:")


def test_a_head_that_cannot_be_solved_names_the_question_and_the_ledger() -> None:
    def astray(question: Question, answer: Answer) -> Later:
        if not isinstance(question.what, SquaresRequest):
            return honest(question, answer)
        gram = torch.zeros_like(answer.value.gram)
        return after(1.0, replace(answer, value=replace(answer.value, gram=gram)))

    away = deployed(runtime(PARTS), dict.fromkeys(NAMES, astray))
    recipe = Recipe(Schedule(1), head=Ridge(penalties=(1.0,)))
    with pytest.raises(DivergenceError) as caught:
        trained(away.exchange, recipe)
    (last,) = [own for own in away.accounts if own.kind == "SquaresRequest"]
    for said in ("cannot be solved", "was SquaresRequest", str(last.number), "exchanges.jsonl"):
        assert said in str(caught.value)


def test_a_hospital_whose_letter_failed_is_asked_again_and_counts() -> None:
    away = deployed(
        runtime(PARTS),
        {"hospital-1": only(broadcasts(1), fails("failed"))},
        Terms(deadline=50, retries=1, pause=3),
    )
    done = trained(away.exchange)
    assert hashes(done) == hashes(trained(runtime(PARTS)))
    asked = [q for q in away.hospitals.asked if q.hospital == "hospital-1" and broadcasts(1)(q)]
    assert len(asked) == 2 and asked[0] == replace(asked[1], what=asked[0].what)
    # A second until it failed, three until it is asked again, one for the answer.
    (account,) = [own for own in away.accounts if own.number == asked[0].number]
    assert account.seconds == 5.0


def test_nobody_is_asked_more_often_than_the_terms_say() -> None:
    always = fails(*["failed"] * 9)
    away = deployed(
        runtime(PARTS),
        {"hospital-1": only(broadcasts(1), always)},
        Terms(deadline=50, retries=3, pause=1),
    )
    trained(away.exchange)
    assert sum(q.hospital == "hospital-1" and broadcasts(1)(q) for q in away.hospitals.asked) == 4


def test_below_the_quorum_the_run_ends_with_everybody_named_and_what_to_do() -> None:
    away = deployed(
        runtime(PARTS),
        {
            "hospital-0": only(broadcasts(1), refuses("out_of_memory")),
            "hospital-2": only(broadcasts(1), silent_hospital),
        },
        Terms(deadline=50, quorum=3),
    )
    with pytest.raises(FederationError) as found:
        trained(away.exchange)
    text = str(found.value)
    assert "2 answered, 3 are needed (answered: hospital-1, hospital-3)" in text
    assert f"hospital-0: out_of_memory: {CODES['out_of_memory']}" in text
    assert "hospital-2: silent" in text and "resume" in text
    assert away.accounts[-1].left_out.keys() == {"hospital-0", "hospital-2"}


def test_a_federation_where_nobody_answers_ends_at_the_deadline() -> None:
    away = deployed(runtime(PARTS), dict.fromkeys(NAMES, silent_hospital), Terms(deadline=50))
    with pytest.raises(FederationError, match="answered: nobody"):
        trained(away.exchange)
    assert away.now == 1050.0


def test_a_round_of_fewer_hospitals_than_the_quorum_needs_all_of_them() -> None:
    recipe = Recipe(Schedule(3, participation=0.25, seed=1))
    terms = Terms(deadline=50, quorum=3)
    away = deployed(runtime(PARTS), terms=terms)
    assert hashes(trained(away.exchange, recipe)) == hashes(trained(runtime(PARTS), recipe))
    (chosen,) = trained(runtime(PARTS), recipe).history[0]["cohort"]
    away = deployed(runtime(PARTS), {chosen: only(broadcasts(), silent_hospital)}, terms)
    with pytest.raises(FederationError, match="0 answered, 1 are needed"):
        trained(away.exchange, recipe)


def test_a_training_that_diverges_everywhere_is_no_matter_of_attendance() -> None:
    """So that a study tries its next learning rate, as it does where hospitals are here."""

    def infinite(update: Any) -> Any:
        return replace(update, weighted_delta=update.weighted_delta * math.inf)

    habits = dict.fromkeys(NAMES[:2], says(infinite))
    habits |= dict.fromkeys(NAMES[2:], only(broadcasts(), refuses("diverged")))
    away = deployed(runtime(PARTS), habits, Terms(deadline=50, quorum=3))
    with pytest.raises(DivergenceError, match="hospital-0, hospital-1, hospital-2, hospital-3"):
        trained(away.exchange)


def leaves_at(kind: type[Request[Any]], which: int) -> Habit:
    """Silent from the so manieth question of a kind until another kind of phase begins."""
    seen: set[int] = set()
    gone: list[bool] = []

    def habit(question: Question, answer: Answer) -> Later:
        if isinstance(question.what, kind) and not gone:
            seen.add(question.number)
            if len(seen) == which:
                gone.append(True)
                return []
        return honest(question, answer)

    return habit


NEWTON = Recipe(Schedule(1), head=Newton(penalties=(10.0,)))


def test_a_phase_begins_anew_without_a_hospital_that_leaves_in_the_middle_of_it() -> None:
    """The head is the others' own; the hospital takes part again in what follows."""
    away = deployed(
        runtime(PARTS),
        {"hospital-1": leaves_at(LossRequest, 3)},
        Terms(deadline=50, quorum=3),
    )
    done = trained(away.exchange, NEWTON)
    model = trained(runtime(PARTS), NEWTON).model
    expected = Newton(penalties=(10.0,)).solve(asking(some(OTHERS)), model)
    assert done.consolidated is not None
    assert done.model.digest() == model.digest()
    assert done.final.digest() == expected.model.digest()
    assert away.accounts[-1].answered == NAMES  # the validation score after the head
    kinds = [account.kind for account in away.accounts]
    assert kinds.count("MomentsRequest") == 2
    second = len(kinds) - 1 - kinds[::-1].index("MomentsRequest")
    assert all("hospital-1" not in own.answered for own in away.accounts[second:-1])
    assert all(own.left_out["hospital-1"][:6] == "silent" for own in away.accounts[second:-1])
    assert not any(q.hospital == "hospital-1" for q in away.hospitals.asked if _in(q, away, second))


def _in(question: Question, away: Deployed, first: int) -> bool:
    numbers = {account.number for account in away.accounts[first:-1]}
    return question.number in numbers


def test_calibration_thresholds_and_test_are_of_the_same_hospitals() -> None:
    def second_evaluation(question: Question) -> bool:
        what = question.what
        return isinstance(what, EvaluationRequest) and what.calibration is not None

    away = deployed(
        runtime(PARTS), {"hospital-1": only(second_evaluation, silent_hospital)}, Terms(deadline=50)
    )
    rule = lambda sums: at_specificity(sums, 0.9)  # noqa: E731
    found = operate(MODEL, asking(away.exchange), rule)
    expected = operate(MODEL, asking(some(OTHERS)), rule)
    assert np.array_equal(found.calibration.slope, expected.calibration.slope)
    assert np.array_equal(found.thresholds, expected.thresholds, equal_nan=True)
    away = deployed(
        runtime(PARTS),
        {"hospital-1": only(lambda q: type(q.what).__name__ == "TrialRequest", refuses("failed"))},
    )
    tested = assess(MODEL, found, away.exchange, ROUNDS, 3, 1)
    alone = assess(MODEL, expected, some(OTHERS), ROUNDS, 3, 1)
    assert tuple(tested.by_client) == OTHERS
    assert np.array_equal(tested.decoupled.counts.counts, alone.decoupled.counts.counts)
    assert np.array_equal(tested.bootstrap.counts, alone.bootstrap.counts)


def test_a_phase_that_loses_too_many_ends_with_all_of_them_named() -> None:
    away = deployed(
        runtime(PARTS),
        {name: leaves_at(LossRequest, k + 1) for k, name in enumerate(NAMES[:2])},
        Terms(deadline=50, quorum=3),
    )
    with pytest.raises(FederationError, match=r"2 answered, 3(.|\n)*hospital-0(.|\n)*hospital-1"):
        trained(away.exchange, NEWTON)


def test_outside_of_a_phase_every_question_stands_for_itself() -> None:
    away = deployed(
        runtime(PARTS), {"hospital-1": leaves_at(StatisticsRequest, 1)}, Terms(deadline=50)
    )
    ask = asking(away.exchange)
    assert ask(StatisticsRequest()).num_images == 24 + 9 + 33
    assert away.exchange.left_out == {"hospital-1": "silent: nothing came within 50 s"}
    assert ask(StatisticsRequest()).num_images == 24 + 60 + 9 + 33
    assert away.exchange.left_out == {}


def test_a_hospital_that_does_not_say_its_size_is_not_drawn() -> None:
    def size(question: Question) -> bool:
        return type(question.what).__name__ == "NumTrainingImages"

    away = deployed(runtime(PARTS), {"hospital-1": only(size, silent_hospital)}, Terms(deadline=50))
    done = trained(away.exchange, Recipe(Schedule(4, participation=0.5, sampling=Weighted())))
    assert all("hospital-1" not in record["cohort"] for record in done.history)


class KilledError(Exception):
    """The coordinator's process ends here."""


def kill_after(round_: int) -> Observer:
    def observer(event: object) -> None:
        if isinstance(event, RoundFinished) and event.record["round"] == round_:
            raise KilledError

    return observer


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("scaffold", (2,)),
        pytest.param("feddyn", (1, 2, 3), marks=pytest.mark.slow),
        pytest.param("moon", (1, 2, 3), marks=pytest.mark.slow),
    ],
)
def test_a_killed_coordinator_goes_on_to_the_same_model(
    name: str, kills: tuple[int, ...], tmp_path: Path
) -> None:
    """In the second round an update came too late, so that hospital's memory is an older one."""
    algorithm = components.build("algorithms", name)
    own = of_algorithm(runtime(PARTS), algorithm)
    habits = {"hospital-1": only(broadcasts(1), late(60.0))}
    terms = Terms(deadline=50, quorum=3)
    recipe = Recipe(Schedule(4, evaluate_every=4))
    whole = trained(deployed(own, habits, terms).exchange, recipe, algorithm)
    assert reasons(whole) == [{}, {"hospital-1": "silent"}, {}, {}]
    for round_ in kills:
        folder = Checkpoints(tmp_path / str(round_), "study")
        first = deployed(of_algorithm(own, algorithm), habits, terms)
        with pytest.raises(KilledError):
            trained(first.exchange, recipe, algorithm, folder, kill_after(round_))
        # Hospitals trained once more in the meantime; nobody counted that.
        stray = trained_once_more(first, algorithm)
        again = deployed(own, {}, terms, first.hospitals)
        assert hashes(trained(again.exchange, recipe, algorithm, folder)) == hashes(whole)
        assert stray


def trained_once_more(away: Deployed, algorithm: Algorithm) -> int:
    """A round that a killed coordinator began and never committed."""
    rounds = {r for site in away.hospitals.sites.values() for r in site.memory}
    broadcast = Broadcast(max(rounds), MODEL, MODEL * 0.5)
    return len(dict(away.exchange.train(broadcast, NAMES)))


def test_hospitals_are_told_when_their_update_was_last_counted() -> None:
    away = deployed(
        runtime(PARTS), {"hospital-1": only(broadcasts(1), silent_hospital)}, Terms(deadline=50)
    )
    trained(away.exchange, Recipe(Schedule(4)))
    told = {
        name: [q.counted for q in away.hospitals.asked if q.hospital == name and broadcasts()(q)]
        for name in NAMES[:2]
    }
    assert told == {"hospital-0": [0, 1, 2, 3], "hospital-1": [0, 1, 1, 3]}


def test_what_was_counted_is_read_from_the_history_of_a_checkpoint() -> None:
    away = deployed(runtime(PARTS))
    history = [
        {"round": 1, "cohort": ["hospital-0", "hospital-1"]},
        {"round": 2, "cohort": ["hospital-0", "hospital-2"], "left_out": {"hospital-2": "silent"}},
        {"round": 3, "cohort": ["hospital-3"]},
    ]
    away.exchange.recall(json.loads(json.dumps(history)))
    asking(away.exchange)(StatisticsRequest())
    told = {question.hospital: question.counted for question in away.hospitals.asked}
    assert told == {"hospital-0": 2, "hospital-1": 1, "hospital-2": 0, "hospital-3": 3}


def test_hospitals_introduce_themselves() -> None:
    away = deployed(runtime(PARTS), {"hospital-1": refuses("unknown_study")})
    found = away.exchange.introduce(Introduce(("a", "b", "c"), (), "0.1.0"))
    assert found == dict.fromkeys(OTHERS, Introduction((5,), {"train": True}, "0.1.0"))
    assert away.exchange.left_out == {"hospital-1": f"unknown_study: {CODES['unknown_study']}"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        Introduction((5.0,), {}, ""),  # type: ignore[arg-type]
        Introduction((5,), {"train": 9}, ""),  # type: ignore[dict-item]
        Introduction((5,), {}, 1),  # type: ignore[arg-type]
        Introduction((-5,), {}, ""),
        Introduction((5,) * 5, {}, ""),
        Introduction((1_000_001,), {}, ""),
        Introduction((5,), {"train\x1b[2J": True}, ""),
        Introduction((5,), {}, "", {"a": "b" * 201}),
        Introduction((5,), {}, "", {f"{k}": "b" for k in range(21)}),
        Introduction((5,), {}, "", {"a": NamedTensors({"a": torch.zeros(1)})}),  # type: ignore[dict-item]
    ],
)
def test_an_introduction_holds_plain_words_only(value: Any) -> None:
    habit: Habit = lambda q, a: after(1.0, replace(a, value=value))  # noqa: E731
    away = deployed(runtime(PARTS), {"hospital-1": habit})
    assert tuple(away.exchange.introduce(Introduce(()))) == OTHERS
    assert away.exchange.left_out["hospital-1"].startswith("wrong_type")


def of_shape(*shape: int) -> Habit:
    return lambda q, a: after(1.0, replace(a, value=replace(a.value, input_shape=shape)))


def test_who_has_inputs_of_another_shape_than_most_is_left_out_by_name() -> None:
    away = deployed(runtime(PARTS), {"hospital-1": of_shape(7)})
    assert tuple(away.exchange.introduce(Introduce(()))) == OTHERS
    why = "other_data: an input there has the shape (7,), the others' have (5,)"
    assert away.exchange.left_out == {"hospital-1": why}
    assert away.accounts[0].left_out == {"hospital-1": why}
    assert away.accounts[0].answered == OTHERS


def test_what_was_agreed_on_outweighs_most() -> None:
    habits = dict.fromkeys(OTHERS[:2], of_shape(7))
    away = deployed(runtime(PARTS), habits)
    assert tuple(away.exchange.introduce(Introduce((), (5,)))) == ("hospital-1", OTHERS[2])
    assert {why.partition(":")[0] for why in away.exchange.left_out.values()} == {"other_data"}


def test_where_no_shape_is_that_of_most_nobody_is_left_out() -> None:
    away = deployed(runtime(PARTS), dict.fromkeys(OTHERS[:2], of_shape(7)))
    assert len(away.exchange.introduce(Introduce(()))) == 4
    assert away.exchange.left_out == {}


def test_numbers_of_two_coordinators_differ() -> None:
    hospitals = Hospitals(runtime(PARTS))
    for _ in range(2):
        asking(deployed(runtime(PARTS), hospitals=hospitals).exchange)(StatisticsRequest())
    assert len({question.number for question in hospitals.asked}) == 2


def test_letters_are_written_when_they_are_taken_one_at_a_time() -> None:
    """A thousand hospitals do not need a thousand copies of the model at once."""
    seen: list[int] = []

    class Frugal(Hospitals):
        def send(self, letters: Any) -> None:
            for name in letters:
                super().send({name: letters[name]})
                seen.append(len(letters.sizes))

    hospitals = Frugal(runtime(PARTS))
    away = deployed(runtime(PARTS), hospitals=hospitals)
    asking(away.exchange)(StatisticsRequest())
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "terms",
    [
        {"deadline": 0},
        {"deadline": math.inf},
        {"quorum": 0},
        {"retries": -1},
        {"grace": -1.0},
        {"pause": 0},
    ],
)
def test_terms_that_cannot_be_kept_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Terms(**terms)  # type: ignore[arg-type]


def test_what_runs_elsewhere_is_remembered_elsewhere() -> None:
    exchange: Exchange = deployed(runtime(PARTS)).exchange
    exchange.restore({})
    assert exchange.client_states == {} and exchange.clients == NAMES
