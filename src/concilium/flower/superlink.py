"""Flower's SuperLink with a gate: ``python -m concilium.flower.superlink`` with its arguments.

One port serves hospitals, commands (register a node, start a run) and the coordinator's own
processes, and the commands ask nobody who they are: whoever reaches the port could register a key
and submit code. The gate lets the commands come from this machine only; others may reach what
SuperNodes need, for which each request is signed, and the sign that the server lives. It also
bounds what a request may hold before it is read: Flower reads it all, then asks who has sent it.

A node's signature says who it is, not what it may send: Flower takes from any node a letter in the
coordinator's name. Here a node gives answers of its own, and nothing else.
"""

from __future__ import annotations

import importlib
import os
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import HTTPException, Request
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PushMessagesRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.superlink.dependencies.linkstate import get_linkstate
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from starlette.concurrency import run_in_threadpool

from concilium.flower.beside import end_with_parent
from concilium.flower.line import LARGEST

FOR_ALL = ("/v1/fleet/", "/health")
HERE = ("127.0.0.1", "::1", "::ffff:127.0.0.1")

FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
"""Headers of a request that a proxy has passed on: it may come from anywhere."""

TRUSTED_PROXIES = "FORWARDED_ALLOW_IPS"
"""Where the web server reads whom it believes that a request came from another address."""

SMALL, COMMAND = 2**16, 2**24
"""Bytes of the largest request, and of the largest command: a bundle has ten million at most."""

LENGTHS_END = 19
"""Digits that no length has."""

OBJECTS = "/v1/fleet/push-object"
"""Where nodes put letters; what is not small is only read from a member."""


class Gate:
    """Refuses a request before it is read: who may not ask for it, or one that is too large.

    403 for what others than this machine may not ask, or where a large one comes from no member;
    411 where its length is not told beforehand; 413 where it is too large.
    """

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or refuse it."""
        status = 0 if scope["type"] == "lifespan" else await refused(scope)
        if not status:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            ends = [(b"connection", b"close")]  # what is left of the request is not waited for
            await send({"type": "http.response.start", "status": status, "headers": ends})
            await send({"type": "http.response.body", "body": b""})
        # Anything else is left unanswered, which ends it.


async def refused(scope: Any) -> int:
    """The status with which a request is refused; 0 for one that may pass."""
    path, headers = scope["path"], scope.get("headers", [])
    names = {name for name, _ in headers}
    client = None if names.intersection(FORWARDED) else scope.get("client")
    if not is_allowed(path, client):
        return 403
    if b"transfer-encoding" in names:
        return 411
    told = [value for name, value in headers if name == b"content-length"]
    if not all(value.isdigit() and len(value) < LENGTHS_END for value in told):
        return 411
    length = max(map(int, told), default=0)
    if length > largest(path):
        return 413
    if path == OBJECTS and length > SMALL and not await run_in_threadpool(is_members, scope):
        return 403
    return 0


def is_allowed(path: str, client: tuple[str, int] | None) -> bool:
    """Whether a request of this path may come from this (address, port).

    >>> is_allowed("/v1/fleet/pull-messages", ("10.0.0.7", 40000))
    True
    >>> is_allowed("/v1/control/start-run", ("10.0.0.7", 40000))
    False
    >>> is_allowed("/v1/control/start-run", ("127.0.0.1", 40000))
    True
    """
    if client is not None and client[0] in HERE:
        return True
    return path.startswith(FOR_ALL[0]) or path == FOR_ALL[1]


def largest(path: str) -> int:
    """Bytes of the largest request of this path.

    >>> largest("/v1/fleet/pull-messages"), largest("/v1/fleet/push-object") > LARGEST
    (65536, True)
    """
    if path == OBJECTS or path.startswith("/v1/runtime/"):
        return LARGEST + SMALL
    return COMMAND if path.startswith("/v1/control/") else SMALL


def is_members(scope: Any) -> bool:
    """Whether a request's headers are signed with the key of a registered node."""
    request = Request({**scope, "state": {}})
    try:
        key = b64decode(request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
        node = get_linkstate(request).get_node_id_by_public_key(key)
        if node is None:
            return False
        request.state.protobuf_request = DeactivateNodeRequest(node_id=node)  # read, never executed
        authenticate_node(request)
    except (HTTPException, KeyError, ValueError):
        return False
    return True


def push_own_answer(push: Callable[..., Any], request: PushMessagesRequest, state: Any) -> Any:
    """Take one answer of the node that sends it. Raises HTTPException (403) for anything else."""
    own = [
        message.metadata.src_node_id == request.node.node_id
        and message.metadata.reply_to_message_id != ""
        for message in request.messages_list
    ]
    if own != [True] or len(request.message_object_trees) != 1:
        raise HTTPException(403, "a node gives answers of its own, one at a time")
    return push(request=request, state=state)


def set_gate() -> None:
    """Put the gate before the application that Flower makes in this process.

    What a header says of where a request came from is believed nowhere, whatever the environment
    says.
    """
    os.environ[TRUSTED_PROXIES] = ""
    handlers = vars(importlib.import_module("flwr.superlink.servicer.fleet.fleet_handlers"))
    handlers["push_messages"] = partial(push_own_answer, handlers["push_messages"])
    module = importlib.import_module("flwr.superlink.main")
    make = module.create_app

    def gated(*args: Any, **kwargs: Any) -> Any:
        app = make(*args, **kwargs)
        app.add_middleware(Gate)
        return app

    vars(module)["create_app"] = gated


def main() -> None:
    """Start the SuperLink."""
    end_with_parent()
    set_gate()
    from flwr.superlink.cli import flower_superlink

    flower_superlink()


if __name__ == "__main__":
    main()
