"""A hospital's SuperNode with an ill will: ``python -m tests.flower.hostile`` with its arguments.

What it does instead of giving its answer stands in the file ``ILL_WILL`` of its folder: "hold"
(announce an answer and never send it), or "forge NODE" (a letter to another node in the
coordinator's name, once, and then its answer).
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.task_identity import TaskIdentity

from concilium.flower.beside import end_with_parent
from concilium.flower.client_app import LETTER, RECORD
from concilium.flower.supernode import set_pace

ILL_WILL, FORGED = "ill_will", b"forged"
TRIED, TAKEN = "has tried to forge a letter", "a forged letter was taken"


def say(what: str) -> None:
    """Write it where the node's log shows it."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def will() -> list[str]:
    """What the file tells it to do."""
    path = Path(os.environ["FLWR_HOME"]).parent / ILL_WILL
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def forge(send: Any, push_object: Any, run: int, node: int) -> None:
    """Send a letter as if it came from the coordinator (node 1)."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run, 1, 1
    letter = RecordDict({RECORD: ConfigRecord({LETTER: FORGED})})
    message = Message(letter, node, "query", ttl=300.0)
    vars(message.metadata)["_message_id"] = message.object_id
    say(TRIED)
    wanted, session = send(message, get_object_tree(message), 0.0)
    say(TAKEN)
    for name, part in get_all_nested_objects(message).items():
        if name in wanted:
            push_object(run, session, name, part.deflate())


def set_will() -> None:
    """Put the ill will into Flower's node in this process."""
    module = vars(importlib.import_module("flwr.supernode.start_client_internal"))
    push_parts, push_messages = (
        module["push_object_contents_from_iterable"],
        module["_push_messages"],
    )
    forged: list[int] = []

    def parts(*given: Any, **named: Any) -> Any:
        return None if will() == ["hold"] else push_parts(*given, **named)

    def messages(*, send: Any, push_object: Any, **rest: Any) -> Any:
        def forging(message: Any, tree: Any, seconds: float) -> Any:
            if will()[:1] == ["forge"] and not forged:
                forged.append(1)
                try:
                    forge(send, push_object, message.metadata.run_id, int(will()[1]))
                except BaseException as error:  # Flower ends an answer's way with it
                    say(type(error).__name__)
            return send(message, tree, seconds)

        return push_messages(send=forging, push_object=push_object, **rest)

    module["push_object_contents_from_iterable"], module["_push_messages"] = parts, messages


if __name__ == "__main__":
    end_with_parent()
    set_pace()
    set_will()
    from flwr.supernode.cli import flower_supernode

    flower_supernode()
