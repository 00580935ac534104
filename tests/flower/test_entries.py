"""What is set in Flower by name is there to be set; the gate, the bundle and the client app."""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import HEARTBEAT_MIN_INTERVAL
from flwr.supercore import heartbeat
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectUnavailableError
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink import main as superlink_main

from concilium import __version__
from concilium.flower import superlink, supernode
from concilium.flower.client_app import LETTER, RECORD, REFUSED, reply
from concilium.flower.control import packed
from concilium.flower.line import CODES, LineError, Resident
from concilium.flower.server_app import TERMS
from concilium.foundation.errors import InputError
from concilium.orchestration.carriers import Terms

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "apps" / "concilium"


@pytest.fixture
def _flower_as_it_is(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test sets in Flower's modules is put back."""
    modules = [
        *(own[0] for own in supernode.CONSTANTS),
        "flwr.supernode.start_client_internal",
        "flwr.superlink.main",
        "flwr.superlink.servicer.fleet.fleet_handlers",
    ]
    before = {name: dict(vars(importlib.import_module(name))) for name in modules}
    yield
    for name, values in before.items():
        vars(importlib.import_module(name)).update(values)


@pytest.mark.usefixtures("_flower_as_it_is")
def test_the_pace_is_set_where_flower_reads_it() -> None:
    flowers = {supernode.BEAT: 30, supernode.WAIT: 20}
    for module, name, _ in supernode.CONSTANTS:
        assert vars(importlib.import_module(module))[name] == flowers[name], module
    supernode.set_pace()
    for module, name, seconds in supernode.CONSTANTS:
        assert vars(importlib.import_module(module))[name] == seconds
    sender = heartbeat.HeartbeatSender(lambda: True)
    waits = sender._retry_invoker.wait_gen_factory()
    assert [next(waits) for _ in range(4)] == [1, 2, supernode.TRY_AGAIN_WITHIN, 3]
    assert supernode.NODE_BEAT >= HEARTBEAT_MIN_INTERVAL


@pytest.mark.usefixtures("_flower_as_it_is")
def test_a_node_looks_for_letters_often_and_uses_no_more_of_the_clock_than_sleep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = importlib.import_module("flwr.supernode.start_client_internal")
    source = Path(cast(str, loop.__file__)).read_text(encoding="utf-8")
    assert sorted(re.findall(r"time\.sleep\((.*)\)", source)) == ["0.5", "0.5", "3"]
    assert set(re.findall(r"\btime\.(\w+)\(", source)) == {"sleep"}
    slept: list[float] = []
    supernode.set_pace()
    monkeypatch.setattr(time, "sleep", slept.append)
    loop.time.sleep(3)
    assert slept == [supernode.LOOK_WHEN_IDLE]
    loop.time.sleep(0.5)
    loop.time.sleep(3)
    assert slept[1:] == [supernode.LOOK_FOR_ANSWER, supernode.LOOK_EVERY]


@pytest.mark.usefixtures("_flower_as_it_is")
def test_a_node_does_not_wait_for_ever_for_a_letter_that_is_not_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = importlib.import_module("flwr.supernode.start_client_internal")
    monkeypatch.setattr(supernode, "LETTER_WITHIN", 0.02)
    monkeypatch.setattr(supernode, "LOOK_FOR_PART", 0.01)
    supernode.set_pace()
    assert loop.pull_objects(["a"], str.encode) == {"a": b"a"}

    looks = iter(range(6))

    def missing(part: str) -> bytes:
        next(looks)  # more would be too many
        raise ObjectUnavailableError(part)

    with pytest.raises(ObjectPullError, match="timeout"):
        loop.pull_objects(["a"], missing, initial_backoff=0.01)

    def over(part: str) -> bytes:
        raise RunNotRunningException

    with pytest.raises(ObjectPullError, match="is over"):
        loop.pull_objects(["a"], over)


def asked(path: str, client: str | None, kind: str = "http") -> tuple[bool, list[Any]]:
    """Whether a request passes the gate, and what is sent back by the gate."""
    passed, sent = [], []

    async def app(*_: Any) -> None:
        passed.append(True)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "client": (client, 4000) if client else None}
    asyncio.run(superlink.Gate(app)(scope, None, send))
    return bool(passed), sent


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/runtime/acquire-task", "/docs"])
def test_commands_are_taken_from_this_machine_only(path: str) -> None:
    assert asked(path, "127.0.0.1") == (True, [])
    for stranger in ("10.0.0.7", "2001:db8::7", None):
        passed, sent = asked(path, stranger)
        assert not passed
        assert sent[0]["status"] == 403
    assert asked(path, "10.0.0.7", "websocket") == (False, [])


@pytest.mark.parametrize("path", ["/v1/fleet/pull-messages", "/health"])
def test_nodes_come_from_anywhere(path: str) -> None:
    assert asked(path, "10.0.0.7") == (True, [])


def test_a_path_that_only_looks_like_a_nodes_is_refused() -> None:
    for path in ("/v1/fleetx", "/v1/control/v1/fleet/x", "/healthy", "//v1/fleet/x"):
        assert asked(path, "10.0.0.7")[0] is False, path


@pytest.mark.usefixtures("_flower_as_it_is")
def test_the_gate_stands_before_flowers_application(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[Any] = []

    class App:
        def add_middleware(self, middleware: Any) -> None:
            added.append(middleware)

    monkeypatch.setattr(superlink_main, "create_app", lambda *_: App())
    monkeypatch.setenv(superlink.TRUSTED_PROXIES, "*")
    superlink.set_gate()
    superlink_main.create_app()
    assert added == [superlink.Gate]


def test_the_bundle_can_be_submitted_and_says_the_same_as_the_package() -> None:
    assert len(packed(BUNDLE)) < 50_000
    project = tomllib.loads((BUNDLE / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == __version__
    assert (BUNDLE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    settings = project["tool"]["flwr"]["app"]["config"]
    assert settings == {"study": "", "out": "", **{key: asdict(Terms())[key] for key in TERMS}}
    assert set(TERMS) <= set(asdict(Terms()))


class Answers(Resident):
    """A worker that gives what it is made with."""

    given: bytes | Exception = b""

    def ask(self, letter: bytes, seconds: float) -> bytes:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given + letter + str(seconds).encode()


@pytest.fixture
def message(monkeypatch: pytest.MonkeyPatch) -> Message:
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 7)
    content = RecordDict({RECORD: ConfigRecord({LETTER: b"hello"})})
    made = Message(content, 7, "query", ttl=60.0)
    vars(made.metadata)["_message_id"] = "1"
    return made


def answered(message: Message, given: bytes | Exception) -> dict[str, Any]:
    resident = Answers(Path())
    resident.given = given
    return dict(cast(ConfigRecord, reply(message, resident).content[RECORD]))


def test_the_client_app_brings_the_workers_answer_and_waits_no_longer_than_the_letter_lasts(
    message: Message,
) -> None:
    assert answered(message, b"A:") == {LETTER: b"A:hello60.0"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LineError("late"), "late"),
        (ValueError("patient 4711"), "worker_failed"),
        (InputError("/home/north/labels.csv"), "worker_failed"),
    ],
)
def test_of_an_error_only_its_code_leaves(message: Message, error: Exception, code: str) -> None:
    assert answered(message, error) == {REFUSED: code}
    assert code in CODES


def test_a_message_that_is_no_letter_is_said_to_be_unreadable(message: Message) -> None:
    for content in (RecordDict(), RecordDict({RECORD: ConfigRecord({LETTER: "text"})})):
        vars(message)["_content"] = content
        message.content = content
        assert answered(message, b"") == {REFUSED: "unreadable"}


@pytest.mark.slow
def test_what_stays_at_a_hospital_beside_the_worker_is_light() -> None:
    code = "import sys, concilium.flower.executor, concilium.flower.worker; "
    heavy = "{'torch', 'numpy.linalg', 'pandas', 'scipy'} & set(sys.modules) - {'numpy.linalg'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print({heavy})"], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "set()"
