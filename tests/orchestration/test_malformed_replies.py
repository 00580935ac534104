"""Replies that nobody may add up: each is refused with its reason, and changes nothing.

One of four hospitals sends them in every round. The model afterwards is, bit for bit, that of the
three others.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.federation.messages import Broadcast, Update
from concilium.federation.questions import Answer, Question, Refusal
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.federation.wire import encode
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.carriers import Delivery, Terms
from concilium.orchestration.checkpoints import Progress
from concilium.orchestration.observers import silent
from concilium.orchestration.phases import asking
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.contract import Runtime
from tests.orchestration.hospitals import Habit, Later, after, deployed, honest, says
from tests.worlds import hospital_parts, linear_network, runtime

PARTS = hospital_parts((24, 40, 9, 33))
LIAR = "hospital-1"
Change = Callable[[Update], Any]


def delta(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """The delta of the head's weight is another."""

    def changed(update: Update) -> Update:
        own = {**update.weighted_delta}
        own["head.weight"] = change(own["head.weight"])
        return replace(update, weighted_delta=NamedTensors(own))

    return changed


def one(value: float) -> Change:
    """One entry of the delta is this."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        other = tensor.clone()
        other.view(-1)[0] = value
        return other

    return delta(change)


def weight(change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """The weight of the head's bias is another."""

    def changed(update: Update) -> Update:
        own = {**update.weight, "head.bias": change(update.weight["head.bias"])}
        return replace(update, weight=NamedTensors(own))

    return changed


def named(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """The tensors of the delta have other names."""

    def changed(update: Update) -> Update:
        own = dict(update.weighted_delta)
        change(own)
        return replace(update, weighted_delta=NamedTensors(own))

    return changed


CHANGES: dict[str, tuple[str, Change]] = {
    "NaN in the delta": ("not_finite", one(float("nan"))),
    "infinity in the delta": ("not_finite", one(float("inf"))),
    "minus infinity in the delta": ("not_finite", one(float("-inf"))),
    "a delta of 64 bits": ("wrong_dtype", delta(torch.Tensor.double)),
    "a delta of whole numbers": ("wrong_dtype", delta(torch.Tensor.int)),
    "a transposed delta": ("wrong_shape", delta(lambda t: t.T.contiguous())),
    "a delta of one row": ("wrong_shape", delta(lambda t: t[:1])),
    "an axis too many": ("wrong_shape", delta(lambda t: t[None])),
    "an empty delta": ("wrong_shape", delta(lambda t: t[:0])),
    "a missing tensor": ("wrong_names", named(lambda own: own.pop("head.bias"))),
    "an extra tensor": ("wrong_names", named(lambda own: own.update(more=torch.zeros(1)))),
    "a renamed tensor": (
        "wrong_names",
        named(lambda own: own.update({"head.Bias": own.pop("head.bias")})),
    ),
    "a negative weight": ("negative", weight(lambda t: -t)),
    "a weight that is NaN": ("not_finite", weight(lambda t: t * float("nan"))),
    "an infinite weight": ("not_finite", weight(lambda t: t * float("inf"))),
    "a delta beside which others are forgotten": ("out_of_range", one(1e30)),
    "the largest delta of 32 bits": ("out_of_range", one(3.4e38)),
    "a delta that no training makes": ("out_of_range", one(1e9)),
    "a loss beside which others are forgotten": (
        "out_of_range",
        lambda u: replace(u, loss=1e300),
    ),
    "a huge weight": ("too_much", weight(lambda t: t * 1e6)),
    "a boolean weight": ("wrong_dtype", weight(lambda t: t > 0)),
    "a weight of two numbers": ("wrong_shape", weight(lambda t: t.expand(2))),
    "a delta without a weight": ("contradicts", weight(lambda t: t * 0)),
    "a missing weight": (
        "wrong_names",
        lambda u: replace(u, weight=NamedTensors({"head.bias": u.weight["head.bias"]})),
    ),
    "extras that the algorithm has not": (
        "wrong_names",
        lambda u: replace(u, extras=NamedTensors({"more": torch.zeros(1)})),
    ),
    "no client": ("not_one_client", lambda u: replace(u, num_clients=0)),
    "two clients": ("not_one_client", lambda u: replace(u, num_clients=2)),
    "a client that is true": ("wrong_type", lambda u: replace(u, num_clients=True)),
    "a loss that is NaN": ("not_finite", lambda u: replace(u, loss=float("nan"))),
    "a loss of a whole number": ("wrong_type", lambda u: replace(u, loss=1)),
    "a negative weight of the loss": ("negative", lambda u: replace(u, loss_weight=-1.0)),
    "a huge weight of the loss": ("too_much", lambda u: replace(u, loss_weight=1e12)),
    "a loss without a weight": ("contradicts", lambda u: replace(u, loss_weight=0.0)),
    "tensors that have no names": ("wrong_type", lambda u: replace(u, weight=torch.ones(2))),
    "a mapping of tensors": ("wrong_type", lambda u: replace(u, weight=dict(u.weight))),
    "statistics in place of an update": (
        "wrong_type",
        lambda u: StatisticsRequest().answer(runtime(PARTS).members[0]),
    ),
    "nothing in place of an update": ("wrong_type", lambda u: None),
    "a broadcast in place of an update": ("wrong_type", lambda u: Broadcast(0, u.weight)),
}


def letter(change: Callable[[Question, Answer], Later]) -> Habit:
    """Its letters to broadcasts are others; all else is honest."""

    def habit(question: Question, answer: Answer) -> Later:
        if isinstance(question.what, Broadcast):
            return change(question, answer)
        return honest(question, answer)

    return habit


def raw(change: Callable[[bytes], bytes]) -> Habit:
    """The bytes of its letters are others."""

    def changed(question: Question, answer: Answer) -> Later:
        return [(1.0, Delivery(LIAR, change(encode(answer))))]

    return letter(changed)


def envelope(**fields: Any) -> Habit:
    """The envelope says something else."""
    return letter(lambda question, answer: after(1.0, replace(answer, **fields), LIAR))


LETTERS: dict[str, tuple[str, Habit]] = {
    "no bytes": ("unreadable", raw(lambda data: b"")),
    "cut short": ("unreadable", raw(lambda data: data[:-1])),
    "cut in the header": ("unreadable", raw(lambda data: data[:20])),
    "bytes added": ("unreadable", raw(lambda data: data + b"\0")),
    "a header that lies about its length": (
        "unreadable",
        raw(lambda data: struct.pack("<Q", 2**40) + data[8:]),
    ),
    "a header that lies about a tensor": (
        "unreadable",
        raw(lambda data: data.replace(b'"F32"', b'"F64"')),
    ),
    "text": ("unreadable", raw(lambda data: b"Traceback (most recent call last):")),
    "a question": (
        "wrong_type",
        letter(lambda question, answer: after(1.0, question, LIAR)),
    ),
    "an update without an envelope": (
        "wrong_type",
        letter(lambda question, answer: after(1.0, answer.value, LIAR)),
    ),
    "another hospital's name": ("wrong_name", envelope(hospital="hospital-0")),
    "a boolean number of the question": ("wrong_type", envelope(number=True)),
    "a number as its name": ("wrong_type", envelope(hospital=1)),
    "the number of an earlier question": ("stale", envelope(number=0)),
    "a number of 64 bits": ("wrong_type", envelope(number=2**63)),
    "a negative number of the question": ("wrong_type", envelope(number=-1)),
    "a refusal of a kind that does not exist": (
        "refused",
        letter(lambda q, a: after(1.0, Refusal(q.number, LIAR, "Mrs. Example"), LIAR)),
    ),
    "a refusal whose reason is no text": (
        "refused",
        letter(lambda q, a: after(1.0, Refusal(q.number, LIAR, 7), LIAR)),  # type: ignore[arg-type]
    ),
}

REPLIES = {
    **{name: (code, says(change)) for name, (code, change) in CHANGES.items()},
    **LETTERS,
}


def rounds(own: Runtime) -> Progress:
    """Two rounds; statistics are those of all four hospitals."""
    statistics = asking(runtime(PARTS))(StatisticsRequest())
    model = travelling(linear_network(PARTS))
    start = Progress(ServerState(0, model, len(PARTS), label_statistics=statistics))
    return run_rounds(start, Schedule(2), FedAvg(), own, lambda model: {}, None, silent)


@pytest.fixture(scope="module")
def without_the_liar() -> list[str]:
    """The model after each round of the three others."""
    others = runtime({name: own for name, own in PARTS.items() if name != LIAR})
    return [record["model"] for record in rounds(others).history]


def test_there_are_at_least_25_and_the_honest_model_is_another(without_the_liar: Any) -> None:
    assert len(REPLIES) >= 25
    everybody = rounds(deployed(runtime(PARTS)).exchange)
    assert [record["model"] for record in everybody.history] == [
        record["model"] for record in rounds(runtime(PARTS)).history
    ]
    assert everybody.history[-1]["model"] != without_the_liar[-1]
    assert "left_out" not in everybody.history[0]


@pytest.mark.parametrize("reply", REPLIES)
def test_it_is_refused_with_its_reason_and_changes_nothing(
    reply: str, without_the_liar: list[str]
) -> None:
    code, habit = REPLIES[reply]
    own = deployed(runtime(PARTS), {LIAR: habit}, Terms(deadline=50, quorum=3))
    end = rounds(own.exchange)
    assert [record["model"] for record in end.history] == without_the_liar
    for record, account in zip(end.history, own.accounts, strict=True):
        assert list(record["left_out"]) == [LIAR]
        assert record["left_out"][LIAR].partition(":")[0] == code
        assert account.left_out == record["left_out"]
        assert account.answered == ("hospital-0", "hospital-2", "hospital-3")
        assert "Mrs" not in str(record)


def test_a_second_letter_is_dropped_and_the_first_counts_once() -> None:
    def twice(question: Question, answer: Answer) -> Later:
        other = replace(answer, value=replace(answer.value, loss=9.0))
        return [*after(1.0, answer), *after(1.0, other), *after(1.5, answer)]

    own = deployed(runtime(PARTS), {LIAR: letter(twice)})
    end = rounds(own.exchange)
    assert end.history[-1] == {**rounds(runtime(PARTS)).history[-1], **bytes_of(end)}
    assert [each.partition(":")[0] for each in own.accounts[0].dropped] == ["twice"]
    assert sorted(each.partition(":")[0] for each in own.accounts[1].dropped) == ["stale", "twice"]


def bytes_of(progress: Progress) -> dict[str, Any]:
    record = progress.history[-1]
    return {name: record[name] for name in ("bytes_up", "bytes_down")}


def test_letters_of_strangers_and_in_advance_are_dropped() -> None:
    def noise(question: Question, answer: Answer) -> Later:
        stranger = Delivery("nobody-knows-me", encode(answer))
        early = replace(answer, number=answer.number + 1)
        return [(0.5, stranger), *after(0.6, early), *after(1.0, answer)]

    own = deployed(runtime(PARTS), {LIAR: letter(noise)})
    end = rounds(own.exchange)
    assert end.server.model.digest() == rounds(runtime(PARTS)).server.model.digest()
    assert sorted(each.partition(":")[0] for each in own.accounts[0].dropped) == [
        "stale",
        "stranger",
    ]
    assert "nobody-knows-me" not in str(own.accounts)


def test_bytes_are_those_of_the_letters_whatever_an_update_says_of_itself() -> None:
    own = deployed(runtime(PARTS), {LIAR: says(lambda u: replace(u, num_bytes=1))})
    end = rounds(own.exchange)
    assert end.history[0]["bytes_up"] == own.accounts[0].bytes_up > 4 * 400
    assert end.history[0]["bytes_down"] == own.accounts[0].bytes_down > 4 * 400
