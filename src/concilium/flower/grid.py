"""The coordinator's carrier: letters to hospitals over Flower's grid of nodes.

Whose node is whose is decided by public keys, which the coordinator holds under the hospitals'
names: what a node says of itself counts for nothing. Flower names a message by its content; a
random number in each keeps one hospital from guessing, and answering, another's.
"""

from __future__ import annotations

import importlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import httpx
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import pull_objects
from flwr.supercore.run import RunNotRunningException

from concilium.flower.client_app import LETTER, RECORD, letter_of
from concilium.flower.line import LineError
from concilium.foundation.checks import positive
from concilium.foundation.errors import FederationError
from concilium.orchestration.carriers import Delivery, Failure

LOOK_EVERY, LOOK_AT_FIRST = 0.25, 0.1
"""Seconds between two looks for answers, and in the first seconds after letters were sent; Flower's
own grid takes three."""

LOOK_FOR_NODES_EVERY = 2.0

GIVE_UP_AFTER = 10.0
"""Seconds after which a SuperLink that does not answer is taken for dead; Flower never does."""

FETCH_WITHIN = 2.0
"""Seconds that a look waits for answers to be fetched, all together. Flower waits two hours for one
whose sender died in the middle of it; meanwhile the others are looked at."""

LOOK_FOR_PART = 1
"""Seconds between two looks for a part of an answer that is still on its way."""

HANGING = 3
"""Fetches of one hospital's answers that may hang at a time."""

LOG = logging.getLogger("concilium.grid")

T = TypeVar("T")


@dataclass(frozen=True)
class _Node:
    number: int
    since: str
    """When it was last activated: another time means that it has started anew."""


@dataclass(frozen=True)
class _Sent:
    hospital: str
    node: _Node


class _Fetch:
    """Fetches an answer in a thread of its own, which ends with the process at the latest."""

    def __init__(self, fetch: Callable[[], list[Message]]) -> None:
        self._fetch, self._found = fetch, list[Message]()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> list[Message] | None:
        """What was found, or its error; None where it takes longer than so many seconds."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            return None
        if self._error is not None:
            raise self._error
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._fetch()
        except BaseException as error:  # raised where the result is asked for
            self._error = error


class GridCarrier:
    """Carries letters over a grid to the nodes of these members (hospital → public key).

    A letter that has no answer ``lasting`` seconds after it was sent is lost. Every call ends soon
    where the SuperLink is dead, with a FederationError that says so. Not for several threads.
    """

    def __init__(self, grid: Grid, members: Mapping[str, bytes], lasting: float) -> None:
        positive(lasting=lasting)
        self._grid, self._lasting = grid, lasting
        self._members = dict(sorted(members.items()))
        self._sent: dict[str, _Sent] = {}
        self._latest: dict[str, str] = {}
        self._ready: list[Delivery] = []
        self._fetches: dict[str, _Fetch] = {}
        self._nodes_seen_at = self._sent_at = 0.0
        give_up_after(grid, GIVE_UP_AFTER)
        fetch_while(lasting)

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Names of all members, ascending, there or not."""
        return tuple(self._members)

    def send(self, letters: Mapping[str, bytes]) -> None:
        """Send a letter to each; who is not there is delivered as unreachable.

        What still comes of an earlier letter to the same hospital is delivered, but no longer that
        it failed.
        """
        nodes = self._nodes()
        for name in letters:
            self._latest.pop(name, None)
        there = [name for name in sorted(letters) if name in nodes]
        self._ready += [
            Delivery(name, failure="unreachable") for name in sorted(letters) if name not in nodes
        ]
        if not there:
            return
        messages = [self._message(nodes[name].number, letters[name]) for name in there]
        # One by one: a node that hears of a letter waits only so long until it is complete.
        numbers = [self._pushed(message) for message in messages]
        self._sent_at = time.monotonic()
        for name, number in zip(there, numbers, strict=True):
            if number:
                self._sent[number] = _Sent(name, nodes[name])
                self._latest[name] = number
            else:
                self._ready.append(Delivery(name, failure="unreachable"))

    def collect(self, seconds: float) -> Sequence[Delivery]:
        """What has come, as soon as anything has, and after so many seconds at the latest."""
        until = time.monotonic() + seconds
        while True:
            found = [*self._ready, *self._look()]
            self._ready = []
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            early = time.monotonic() - self._sent_at < 5.0
            time.sleep(min(LOOK_AT_FIRST if early else LOOK_EVERY, left))

    def _message(self, node: int, letter: bytes) -> Message:
        content = RecordDict({RECORD: ConfigRecord({LETTER: letter})})
        return Message(content, node, "query", ttl=self._lasting, group_id=secrets.token_hex(16))

    def _pushed(self, message: Message) -> str | None:
        """The number of a message that was sent; None where it was not taken."""
        numbers = self._reach(lambda: list(self._grid.push_messages([message])))
        return numbers[0] if numbers else None

    def _look(self) -> Iterable[Delivery]:
        until = time.monotonic() + FETCH_WITHIN
        found = [self._pulled(number, sent, until) for number, sent in list(self._sent.items())]
        return [delivery for delivery in (*found, *self._started_anew()) if delivery is not None]

    def _pulled(self, number: str, sent: _Sent, until: float) -> Delivery | None:
        # One call a message: an answer that Flower cannot put together takes no other with it.
        fetch, patience = self._fetches.pop(number, None), 0.0
        if fetch is None:
            if self._hanging(sent.hospital) >= HANGING:
                return None
            fetch = _Fetch(lambda: list(self._grid.pull_messages([number])))
            patience = max(0.0, until - time.monotonic())
        try:
            replies = self._reach(lambda: fetch.result(patience))
        except FederationError:
            raise
        except Exception as error:  # whatever a hospital has sent
            LOG.warning("%s: a broken answer: %s", sent.hospital, type(error).__name__)
            del self._sent[number]
            return self._failed(number, sent, "failed")
        if replies is None:
            self._fetches[number] = fetch
        return self._opened(number, sent, replies[0]) if replies else None

    def _hanging(self, hospital: str) -> int:
        return sum(self._sent[number].hospital == hospital for number in self._fetches)

    def _opened(self, number: str, sent: _Sent, reply: Message) -> Delivery | None:
        del self._sent[number]
        if reply.has_error():
            gone = reply.error.code == ErrorCode.NODE_UNAVAILABLE
            return self._failed(number, sent, "unreachable" if gone else "failed")
        try:
            return Delivery(sent.hospital, letter_of(reply))
        except LineError as error:
            LOG.warning("%s has no answer: %s", sent.hospital, error)
            return self._failed(number, sent, "failed")

    def _started_anew(self) -> Iterable[Delivery | None]:
        """Letters whose node has ended and started since: it knows nothing of them."""
        if not self._sent or time.monotonic() - self._nodes_seen_at < LOOK_FOR_NODES_EVERY:
            return
        nodes = self._nodes()
        for number, sent in list(self._sent.items()):
            if nodes.get(sent.hospital, sent.node) != sent.node:
                del self._sent[number]
                self._fetches.pop(number, None)
                yield self._failed(number, sent, "unreachable")

    def _failed(self, number: str, sent: _Sent, failure: Failure) -> Delivery | None:
        if self._latest.get(sent.hospital) != number:
            return None  # it has been sent another since, and this is not about that one
        del self._latest[sent.hospital]
        return Delivery(sent.hospital, failure=failure)

    def _nodes(self) -> dict[str, _Node]:
        """Hospitals whose node is there, by the key that it has proved to hold."""
        self._nodes_seen_at = time.monotonic()
        names = {key: name for name, key in self._members.items()}
        return {
            names[node.public_key]: _Node(node.node_id, node.last_activated_at)
            for node in self._reach(lambda: list(self._grid.get_nodes()))
            if node.public_key in names
        }

    def _reach(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except RunNotRunningException:
            raise FederationError("the run was stopped at the coordinator's SuperLink") from None
        except httpx.HTTPError as error:
            raise FederationError(
                f"the coordinator's SuperLink does not answer ({type(error).__name__}); start it "
                "again, then resume the run"
            ) from None


def give_up_after(grid: Grid, seconds: float) -> None:
    """Let a grid's calls end with an error where its SuperLink does not answer for so long."""
    again = getattr(grid, "_retry_invoker", None)
    if again is not None:
        again.max_time = seconds


def fetch_while(seconds: float) -> None:
    """Let Flower's grids look for a part of an answer that is not there for no longer than this."""
    fetching = vars(importlib.import_module("flwr.superlink.grid.http_grid"))
    fetching["pull_objects"] = partial(pull_objects, max_time=seconds, backoff_cap=LOOK_FOR_PART)
