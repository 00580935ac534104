"""The gate before Flower's server: what is refused unread, and whose answers are taken."""

from __future__ import annotations

import asyncio
import datetime
import importlib
from base64 import b64encode
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

import uvicorn
from fastapi import HTTPException
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.date import now
from flwr.supercore.primitives import asymmetric
from flwr.superlink.routers.fleet import router
from flwr.superlink.servicer.fleet import fleet_handlers

from concilium.flower import superlink
from concilium.flower.line import LARGEST

STRANGER, HERE = ("10.0.0.7", 4000), ("127.0.0.1", 4000)
Headers = list[tuple[bytes, bytes]]


@pytest.fixture
def _gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The gate is set, and what it sets is put back afterwards."""
    monkeypatch.setenv(superlink.TRUSTED_PROXIES, "*")
    modules = [importlib.import_module("flwr.superlink.main"), fleet_handlers]
    before = [dict(vars(module)) for module in modules]
    yield
    for module, values in zip(modules, before, strict=True):
        vars(module).update(values)


def scope_of(path: str, client: tuple[str, int], headers: Headers, app: Any = None) -> Any:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "client": client,
        "headers": headers,
        "app": app,
    }


def status(app: Any, scope: Any) -> int:
    """With what an application refuses a request; 0 where it was passed on unread."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the request was read")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"] if sent else 0


async def passed(*_: Any) -> None:
    """An application that a request has reached."""


def refusal(path: str, headers: Headers, client: tuple[str, int] = STRANGER) -> int:
    return status(superlink.Gate(passed), scope_of(path, client, headers))


@pytest.mark.usefixtures("_gate")
def test_no_header_makes_a_stranger_of_this_machine_whatever_the_environment_says() -> None:
    scope = scope_of("/v1/control/start-run", STRANGER, [(b"x-forwarded-for", b"127.0.0.1")])
    trusting = uvicorn.Config(superlink.Gate(passed), log_config=None, ws="none")
    superlink.set_gate()
    ours = uvicorn.Config(superlink.Gate(passed), log_config=None, ws="none")
    for config in (trusting, ours):
        config.load()
    bare = {**scope, "headers": []}
    assert status(ours.loaded_app, dict(scope)) == status(ours.loaded_app, bare) == 403
    assert ours.forwarded_allow_ips == ""
    assert trusting.forwarded_allow_ips == "*"


@pytest.mark.parametrize("header", superlink.FORWARDED)
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_here(header: bytes) -> None:
    assert refusal("/v1/control/start-run", [], HERE) == 0
    assert refusal("/v1/control/start-run", [(header, b"10.0.0.7")], HERE) == 403
    assert refusal("/v1/fleet/pull-messages", [(header, b"10.0.0.7")], HERE) == 0


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/v1/fleet/pull-messages", superlink.SMALL),
        ("/v1/fleet/push-messages", superlink.SMALL),
        ("/v1/fleet/push-object/", superlink.SMALL),
        ("/v1/fleet/nothing", superlink.SMALL),
        ("/health", superlink.SMALL),
        ("/v1/control/start-run", superlink.COMMAND),
        ("/v1/runtime/push-object", superlink.SMALL + LARGEST),
    ],
)
def test_a_request_that_is_too_large_is_refused_before_it_is_read(path: str, most: int) -> None:
    assert refusal(path, [(b"content-length", str(most).encode())], HERE) == 0
    assert refusal(path, [(b"content-length", str(most + 1).encode())], HERE) == 413
    two = [(b"content-length", b"1"), (b"content-length", str(most + 1).encode())]
    assert refusal(path, two, HERE) == 413


def test_a_request_whose_length_is_not_known_beforehand_is_refused() -> None:
    path = "/v1/fleet/push-object"
    assert refusal(path, [(b"transfer-encoding", b"chunked")]) == 411
    both = [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]
    assert refusal(path, both) == 411
    for length in (b"", b"-1", b"1e3", b"9" * 5000):
        assert refusal(path, [(b"content-length", length)]) == 411


def signed(key: Any, at: datetime.datetime, by: Any = None) -> Headers:
    """Headers with which a node shows who it is; signed by another, where one is named."""
    private, public = key
    time = at.isoformat().encode()
    signature = asymmetric.sign_message(by[0] if by else private, time)
    return [
        (b"flwr-public-key", b64encode(asymmetric.public_key_to_bytes(public))),
        (b"flwr-timestamp", time),
        (b"flwr-signature", b64encode(signature)),
    ]


def test_a_large_letter_is_read_from_a_member_only() -> None:
    member, other = asymmetric.generate_key_pairs(), asymmetric.generate_key_pairs()
    nodes = {asymmetric.public_key_to_bytes(member[1]): 7}
    state = SimpleNamespace(get_node_id_by_public_key=nodes.get)
    factory = SimpleNamespace(state=lambda: state)
    app = SimpleNamespace(state=SimpleNamespace(linkstate_factory=factory))

    def answer(headers: Headers, length: int = superlink.SMALL + 1) -> int:
        told = [*headers, (b"content-length", str(length).encode())]
        return status(superlink.Gate(passed), scope_of(superlink.OBJECTS, STRANGER, told, app))

    assert answer(signed(member, now())) == 0
    assert answer(signed(member, now()), LARGEST + superlink.SMALL + 1) == 413
    long_ago = now() - datetime.timedelta(hours=1)
    for headers in (
        [],
        [(b"flwr-public-key", b"?")],
        signed(other, now()),
        signed(member, now(), by=other),
        signed(member, long_ago),
    ):
        assert answer(headers) == 403
        assert answer(headers, superlink.SMALL) == 0  # Flower itself asks who has sent it


def pushed(*messages: tuple[int, str], node: int = 7, trees: int = 1) -> PushMessagesRequest:
    """A request of a node with messages (source, what it replies to)."""
    return PushMessagesRequest(
        node=Node(node_id=node),
        messages_list=[
            Message(metadata=Metadata(src_node_id=source, reply_to_message_id=asked))
            for source, asked in messages
        ],
        message_object_trees=[ObjectTree()] * trees,
    )


@pytest.mark.usefixtures("_gate")
def test_a_node_gives_answers_of_its_own_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(fleet_handlers, "push_messages", lambda **given: taken.append(given))
    superlink.set_gate()
    state: Any = object()
    push: Any = router.fleet_push_messages  # where Flower's server takes them
    own = pushed((7, "asked"))
    push(request=own, state=state)
    assert taken == [{"request": own, "state": state}]
    for forged in (
        pushed((1, "")),  # in the coordinator's name
        pushed((1, "asked")),
        pushed((8, "asked")),  # in another's
        pushed((7, "")),  # no answer
        pushed((7, "asked"), (1, "")),
        pushed((7, "asked"), trees=2),
        pushed((7, "asked"), trees=0),
        pushed(),
    ):
        with pytest.raises(HTTPException) as refused:
            push(request=forged, state=state)
        assert refused.value.status_code == 403
    assert len(taken) == 1
