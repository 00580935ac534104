"""The carrier over Flower's grid, on a grid in memory that does as each test needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

import httpx
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectUnavailableError
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import http_grid

from concilium.flower import grid as grids
from concilium.flower.client_app import LETTER, RECORD, REFUSED
from concilium.flower.grid import GridCarrier
from concilium.foundation.errors import FederationError
from concilium.orchestration.carriers import Delivery

Reply = Callable[[Message], Message | Exception | None]


def echo(message: Message) -> Message:
    """What a hospital's client app replies with: the letter itself."""
    record = cast(ConfigRecord, message.content[RECORD])
    return Message(RecordDict({RECORD: ConfigRecord({LETTER: record[LETTER]})}), reply_to=message)


def refuse(message: Message, code: str = "worker_lost") -> Message:
    return Message(RecordDict({RECORD: ConfigRecord({REFUSED: code})}), reply_to=message)


def fail(message: Message, code: int = ErrorCode.CLIENT_APP_CRASHED) -> Message:
    return Message(Error(code, "a patient's name"), reply_to=message)


@dataclass
class MemoryGrid(Grid):
    """Nodes by number, with a key and a time of activation; each replies by its function."""

    nodes: dict[int, tuple[bytes, str]]
    replies: dict[int, Reply] = field(default_factory=dict)
    sent: dict[str, Message] = field(default_factory=dict)
    error: Exception | None = None

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def get_nodes(self) -> Iterable[NodeInfo]:
        self._reached()
        return [
            NodeInfo(node_id=number, public_key=key, last_activated_at=since)
            for number, (key, since) in self.nodes.items()
        ]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self._reached()
        numbers = []
        for message in messages:
            number = f"{len(self.sent)}"
            vars(message.metadata)["_message_id"] = number
            self.sent[number] = message
            numbers.append(number)
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self._reached()
        found = []
        for number in message_ids:
            message = self.sent[number]
            reply = self.replies.get(message.metadata.dst_node_id, echo)(message)
            if isinstance(reply, Exception):
                raise reply
            if reply is not None:
                found.append(reply)
        return found

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        raise NotImplementedError

    def _reached(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def _of_a_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"_run_id": 1, "_task_id": 1, "_node_id": 1}.items():
        monkeypatch.setattr(TaskIdentity, name, value)
    monkeypatch.setattr(http_grid, "pull_objects", http_grid.pull_objects)  # put back afterwards
    monkeypatch.setattr(grids, "LOOK_AT_FIRST", 0.01)
    monkeypatch.setattr(grids, "LOOK_FOR_NODES_EVERY", 0.0)
    yield


@pytest.fixture
def grid() -> MemoryGrid:
    return MemoryGrid({7: (b"key of north", "monday"), 8: (b"key of south", "monday")})


@pytest.fixture
def carrier(grid: MemoryGrid) -> GridCarrier:
    return GridCarrier(grid, {"south": b"key of south", "north": b"key of north"}, 60.0)


def all_of(carrier: GridCarrier) -> set[Delivery]:
    found: set[Delivery] = set()
    while now := carrier.collect(0.0):
        found |= set(now)
    return found


def test_letters_reach_the_holders_of_the_keys(carrier: GridCarrier, grid: MemoryGrid) -> None:
    assert carrier.hospitals == ("north", "south")
    carrier.send({"south": b"to south", "north": b"to north"})
    assert {m.metadata.dst_node_id: m.metadata.ttl for m in grid.sent.values()} == {
        7: 60.0,
        8: 60.0,
    }
    assert all_of(carrier) == {Delivery("north", b"to north"), Delivery("south", b"to south")}
    assert carrier.collect(0.0) == []


def test_a_name_counts_for_nothing_beside_a_key(grid: MemoryGrid, carrier: GridCarrier) -> None:
    grid.nodes = {9: (b"key of a stranger", "monday"), 7: grid.nodes[7]}
    carrier.send({"north": b"x", "south": b"x"})
    assert [m.metadata.dst_node_id for m in grid.sent.values()] == [7]
    assert all_of(carrier) == {Delivery("north", b"x"), Delivery("south", failure="unreachable")}


def test_no_message_can_be_guessed_from_another(carrier: GridCarrier, grid: MemoryGrid) -> None:
    for _ in range(2):
        carrier.send({"north": b"x", "south": b"x"})
    marks = {message.metadata.group_id for message in grid.sent.values()}
    assert len(marks) == 4
    assert all(len(mark) >= 32 for mark in marks)


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (fail, "failed"),
        (lambda m: fail(m, ErrorCode.NODE_UNAVAILABLE), "unreachable"),
        (lambda m: fail(m, ErrorCode.MESSAGE_UNAVAILABLE), "failed"),
        (refuse, "failed"),
        (lambda m: refuse(m, "patient 4711"), "failed"),
        (lambda m: Message(RecordDict(), reply_to=m), "failed"),
        (lambda m: Message(RecordDict({RECORD: ConfigRecord({LETTER: 1})}), reply_to=m), "failed"),
        (lambda _: ValueError("an object that is not what its name says"), "failed"),
    ],
)
def test_what_brings_no_answer_is_delivered_as_such_and_takes_no_other_with_it(
    grid: MemoryGrid,
    carrier: GridCarrier,
    reply: Reply,
    failure: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    grid.replies[7] = reply
    carrier.send({"north": b"x", "south": b"x"})
    assert all_of(carrier) == {Delivery("north", failure=failure), Delivery("south", b"x")}
    assert "patient" not in caplog.text


def test_a_letter_to_a_node_that_has_started_anew_is_lost(
    grid: MemoryGrid, carrier: GridCarrier
) -> None:
    grid.replies[7] = lambda _: None
    carrier.send({"north": b"x"})
    assert carrier.collect(0.0) == []
    grid.nodes[7] = (b"key of north", "tuesday")
    assert carrier.collect(0.0) == [Delivery("north", failure="unreachable")]
    del grid.replies[7]
    assert carrier.collect(0.0) == []


def test_of_an_earlier_letter_an_answer_still_comes_but_no_failure(
    grid: MemoryGrid, carrier: GridCarrier
) -> None:
    grid.replies[7] = lambda _: None
    carrier.send({"north": b"first"})
    carrier.send({"north": b"second"})
    assert carrier.collect(0.0) == []
    grid.replies[7] = lambda m: fail(m) if m is grid.sent["0"] else None
    assert carrier.collect(0.0) == []
    carrier.send({"north": b"third"})
    grid.replies[7] = lambda m: echo(m) if m is grid.sent["1"] else None
    assert carrier.collect(0.0) == [Delivery("north", b"second")]
    grid.replies[7] = fail
    assert carrier.collect(0.0) == [Delivery("north", failure="failed")]


def test_collect_returns_with_the_first_answer_and_never_later_than_asked(
    grid: MemoryGrid, carrier: GridCarrier
) -> None:
    assert carrier.collect(0.0) == []
    carrier.send({"north": b"x", "south": b"x"})
    began = time.monotonic()
    assert len(carrier.collect(60.0)) == 2
    grid.replies[7] = lambda _: None
    carrier.send({"north": b"x"})
    assert carrier.collect(0.05) == []
    assert time.monotonic() - began < 5


def test_an_answer_that_hangs_keeps_nobody_waiting(
    grid: MemoryGrid, carrier: GridCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "FETCH_WITHIN", 0.02)
    going_on = threading.Event()

    def hang(message: Message) -> Message:
        assert going_on.wait(10)
        return echo(message)

    grid.replies = {7: hang}
    carrier.send({"north": b"1", "south": b"2"})
    began = time.monotonic()
    assert {own.hospital for own in carrier.collect(5)} == {"south"}
    assert not carrier.collect(0.1)
    assert time.monotonic() - began < 3
    going_on.set()
    assert list(carrier.collect(5)) == [Delivery("north", b"1")]


def test_many_answers_that_hang_cost_no_more_than_one(
    grid: MemoryGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "FETCH_WITHIN", 0.05)
    going_on = threading.Event()
    grid.nodes = {number: (b"%d" % number, "monday") for number in range(20)}
    grid.replies = {number: lambda m: going_on.wait(10) and None for number in range(19)}
    carrier = GridCarrier(grid, {f"h{number}": b"%d" % number for number in range(20)}, 60.0)
    carrier.send({f"h{number}": b"x" for number in range(20)})
    began = time.monotonic()
    assert list(carrier.collect(5)) == [Delivery("h19", b"x")]
    assert time.monotonic() - began < 0.5, "twenty times as long, one after the other"
    going_on.set()


def test_a_hospital_whose_answers_hang_holds_few_of_our_threads(
    grid: MemoryGrid, carrier: GridCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "FETCH_WITHIN", 0.01)
    going_on, fetched = threading.Event(), list[str]()

    def hang(message: Message) -> Message:
        fetched.append(message.metadata.message_id)
        assert going_on.wait(10)
        return echo(message)

    grid.replies = {7: hang}
    for letter in range(grids.HANGING + 4):
        carrier.send({"north": b"%d" % letter, "south": b"x"})
        assert list(carrier.collect(1.0)) == [Delivery("south", b"x")]
    assert len(fetched) == grids.HANGING
    going_on.set()
    late: list[bytes | None] = []
    while len(late) < grids.HANGING:
        late += [own.data for own in carrier.collect(1.0)]
    assert late[: grids.HANGING] == [b"0", b"1", b"2"]


def test_flowers_grid_looks_for_a_part_no_longer_than_the_letter_lasts(grid: MemoryGrid) -> None:
    GridCarrier(grid, {}, 0.02)

    looks = iter(range(6))

    def missing(part: str) -> bytes:
        next(looks)  # more would be too many
        raise ObjectUnavailableError(part)

    with pytest.raises(ObjectPullError, match="timeout"):
        http_grid.pull_objects(["a"], missing, initial_backoff=0.01)


@pytest.mark.parametrize(
    ("error", "said"),
    [(httpx.ConnectError("no"), "does not answer"), (RunNotRunningException(), "was stopped")],
)
def test_a_superlink_that_is_gone_is_a_clear_error(
    grid: MemoryGrid, carrier: GridCarrier, error: Exception, said: str
) -> None:
    carrier.send({"north": b"x"})
    grid.error = error
    with pytest.raises(FederationError, match=said):
        carrier.collect(1.0)
    with pytest.raises(FederationError, match=said):
        carrier.send({"north": b"x"})


def test_flowers_own_grid_gives_up(grid: MemoryGrid) -> None:
    again = make_simple_http_retry_invoker()
    assert again.max_time is None
    vars(grid)["_retry_invoker"] = again
    GridCarrier(grid, {}, 60.0)
    assert again.max_time == grids.GIVE_UP_AFTER


def test_a_reply_is_the_hospitals_that_was_asked_whatever_it_says(
    grid: MemoryGrid, carrier: GridCarrier
) -> None:
    def of_another(message: Message) -> Message:
        reply = echo(message)
        vars(reply.metadata)["_src_node_id"] = 8
        return make_message(metadata=reply.metadata, content=reply.content)

    grid.replies[7] = of_another
    carrier.send({"north": b"x"})
    assert carrier.collect(0.0) == [Delivery("north", b"x")]
