"""How long the executor of a hospital waits for a letter that its SuperNode is still fetching."""

from __future__ import annotations

import time
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.task_identity import TaskIdentity

from concilium.flower import tasks
from concilium.flower.client_app import LETTER, RECORD
from concilium.flower.tasks import pull_message

BEGUN = cast(tasks.Input, SimpleNamespace(context=SimpleNamespace(run_id=7, node_id=7)))


class SuperNode:
    """Gives one message; each of its parts is there at the so-manieth look, or never."""

    def __init__(self, lasting: float, there_at: int | None, found: bool = True) -> None:
        content = RecordDict({RECORD: ConfigRecord({LETTER: b"hello"})})
        message = Message(content, 7, "query", ttl=lasting)
        vars(message.metadata)["_message_id"] = message.object_id
        self._bare = message_to_proto(remove_content_from_message(message))
        self._tree = get_object_tree(message)
        self._parts = {name: own.deflate() for name, own in get_all_nested_objects(message).items()}
        self._there_at, self._found = there_at, found
        self.looks: Counter[str] = Counter()

    def PullMessages(self, _: Any) -> PullAppMessagesResponse:  # noqa: N802 (Flower's name)
        return PullAppMessagesResponse(
            messages_list=[self._bare], message_object_trees=[self._tree]
        )

    def PullObject(self, request: Any) -> PullObjectResponse:  # noqa: N802 (Flower's name)
        self.looks[request.object_id] += 1
        assert self.looks[request.object_id] < 8, "it is looked for without end"
        there = self._there_at is not None and self.looks[request.object_id] >= self._there_at
        return PullObjectResponse(
            object_found=self._found,
            object_available=there,
            object_content=self._parts[request.object_id] if there else b"",
        )

    def ConfirmMessageReceived(self, _: Any) -> None:  # noqa: N802 (Flower's name)
        pass


@pytest.fixture(autouse=True)
def _of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 7)
    monkeypatch.setattr(tasks, "LOOK_FOR_PART_AT_FIRST", 0.005)


def test_a_letter_is_waited_for_until_all_of_it_is_there() -> None:
    supernode = SuperNode(lasting=60.0, there_at=3)
    message = pull_message(cast(Any, supernode), BEGUN)
    assert message is not None
    assert cast(ConfigRecord, message.content[RECORD])[LETTER] == b"hello"
    assert set(supernode.looks.values()) == {3}


def test_a_letter_that_stays_incomplete_holds_nobody_longer_than_it_lasts() -> None:
    began = time.monotonic()
    with pytest.raises(ObjectPullError, match="timeout"):
        pull_message(cast(Any, SuperNode(lasting=0.05, there_at=None)), BEGUN)
    assert time.monotonic() - began < 5


def test_a_letter_that_the_node_has_given_up_is_given_up_at_once() -> None:
    supernode = SuperNode(lasting=60.0, there_at=None, found=False)
    with pytest.raises(ObjectPullError, match="could not be found"):
        pull_message(cast(Any, supernode), BEGUN)
