"""Flower's tasks, seen by who executes them: acquire one, read its input, give its output.

The Runtime interface of a SuperNode or a SuperLink, of which an executor needs seven calls. None
of them tries again by itself: an executor that looks for work twice a second has no need to.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.app import Context, Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import context_from_proto, message_to_proto, run_from_proto
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PullTaskInputResponse,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    pull_and_inflate_object_from_tree,
    push_objects,
)
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.run import Run
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity

LOOK_FOR_PART_AT_FIRST, LOOK_FOR_PART = 0.05, 0.5
"""Seconds between two looks for a part of a letter that the SuperNode is still fetching."""

BEAT_EVERY = 2.0
"""Seconds between two signs of life of a task."""

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


@dataclass(frozen=True)
class Place:
    """Where tasks are given out: an address, and the certificate of who signed its own.

    Without a certificate the connection is not encrypted: for this machine only. ``secret`` is
    known to the one who gives tasks out and to the one who may take them.
    """

    address: str
    secret: bytes
    authority: bytes | None = None

    def client(self, token: str = "") -> RuntimeHttpClient:
        """A connection: to acquire tasks, or for the task of a token."""
        identity = (
            RuntimeTokenHttpInterceptor(token)
            if token
            else SuperExecAuthHttpInterceptor(
                master_secret=self.secret, protected_methods=[ACQUIRE]
            )
        )
        return RuntimeHttpClient.from_server_address(
            server_address=self.address,
            insecure=self.authority is None,
            root_certificates=self.authority,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec"), identity],
        )


def acquire(client: RuntimeHttpClient, kind: TaskType) -> str:
    """The token of a task that waits, or an empty text."""
    task = client.AcquireTask(AcquireTaskRequest(supported_task_types=[kind]))
    return task.token if task.HasField("task") else ""


class Beating:
    """While it is entered, a task shows signs of life from a thread of its own."""

    def __init__(self, client: RuntimeHttpClient) -> None:
        self._client = client
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_EVERY):
            with suppress(httpx.HTTPError):
                self._client.SendTaskHeartbeat(SendTaskHeartbeatRequest())


@dataclass(frozen=True)
class Input:
    """What a task is to work on; of the submitted code nothing is kept."""

    context: Context
    run: Run

    @classmethod
    def pull(cls, client: RuntimeHttpClient) -> Input:
        """Fetch it, which begins the task; messages made from now on are of its run."""
        response: PullTaskInputResponse = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id = response.task_id
        TaskIdentity.run_id = response.run.run_id
        TaskIdentity.node_id = response.context.node_id
        return cls(context_from_proto(response.context), run_from_proto(response.run))


def pull_message(client: RuntimeHttpClient, begun: Input) -> Message | None:
    """The message that a client app's task is to answer.

    Waits for its parts no longer than the message lasts, after which nobody waits for the answer.
    Raises ObjectPullError where they do not come, at once where the SuperNode has given up.
    """
    response = client.PullMessages(PullAppMessagesRequest())
    if not response.messages_list:
        return None
    tree, run_id = response.message_object_trees[0], begun.context.run_id
    node = Node(node_id=begun.context.node_id)
    metadata = response.messages_list[0].metadata
    message = pull_and_inflate_object_from_tree(
        tree,
        make_pull_object_fn_protobuf(client.PullObject, node, run_id),
        make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run_id),
        return_type=Message,
        max_time=metadata.created_at + metadata.ttl - time.time(),
        max_tries_per_object=None,
        initial_backoff=LOOK_FOR_PART_AT_FIRST,
        backoff_cap=LOOK_FOR_PART,
    )
    vars(message.metadata)["_message_id"] = tree.object_id
    return message


def push_message(client: RuntimeHttpClient, message: Message, begun: Input) -> None:
    """Give the answer of a client app's task."""
    vars(message.metadata)["_message_id"] = message.object_id
    bare = message_to_proto(remove_content_from_message(message))
    with no_object_id_recompute():
        response = client.PushMessages(
            PushAppMessagesRequest(
                messages_list=[bare], message_object_trees=[get_object_tree(message)]
            )
        )
        push_objects(
            get_all_nested_objects(message),
            make_push_object_fn_protobuf(
                client.PushObject,
                Node(node_id=begun.context.node_id),
                run_id=begun.context.run_id,
                session_id=response.session_id,
            ),
            object_ids_to_push=set(response.objects_to_push),
        )


def finish(client: RuntimeHttpClient, outcome: str, details: str = "") -> None:
    """End a task as "completed" or "failed"; the details are kept in Flower's database."""
    client.PushTaskOutput(PushTaskOutputRequest(sub_status=outcome, details=details))


def read_authority(path: Path | None) -> bytes | None:
    """The certificate of a file, if one is named."""
    return None if path is None else path.read_bytes()
