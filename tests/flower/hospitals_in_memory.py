"""A grid over client apps in this process: what travels is turned into bytes and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import InflatableObject
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

T = TypeVar("T", bound=InflatableObject)
Meddle = Callable[[Message], "list[Message]"]


class GridInMemory(Grid):
    """Nodes with a client app each; ``meddle`` makes of a node's reply what arrives, or nothing.

    ``order`` gives the order in which replies come. An app that raises replies with an error, as
    a SuperNode does.
    """

    def __init__(
        self,
        nodes: Mapping[int, tuple[ClientApp, Context]],
        meddle: Mapping[int, Meddle] | None = None,
        order: Callable[[list[Message]], list[Message]] = list,
    ) -> None:
        # What a task of Flower's knows of itself, and every message asks for.
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self.nodes = dict(nodes)
        self.meddle = dict(meddle or {})
        self.order = order
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        replies: list[Message] = []
        sent = list(messages)
        kind = sent[0].metadata.message_type if sent else ""
        self.asked.append((kind, tuple(message.metadata.dst_node_id for message in sent)))
        for message in sent:
            node = message.metadata.dst_node_id
            app, context = self.nodes[node]
            try:
                reply = travelled(app(travelled(message), context))
            except Exception as error:
                reply = Message(Error(1, str(error)), reply_to=message)
            replies += self.meddle.get(node, lambda own: [own])(reply)
        return self.order(replies)


def travelled(own: T) -> T:
    """The same message, or record, after it has been bytes."""
    children = {name: travelled(child) for name, child in (own.children or {}).items()}
    return type(own).inflate(own.deflate(), children or None)


def context(
    node: int, config: Mapping[str, str | int | float] | None = None, **own: int
) -> Context:
    """The context in which a node's client app runs."""
    return Context(1, node, dict(own), RecordDict(), dict(config or {}))  # type: ignore[arg-type]
