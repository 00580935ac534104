"""The folders of a federation, and what its commands say, without a process of Flower."""

from __future__ import annotations

import json
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from concilium.cli.federation import folders, needs, status, trial
from concilium.cli.federation.comparing import bytes_of, compared, seconds_of
from concilium.cli.federation.group import group
from concilium.cli.federation.leaving import WORDS
from concilium.deployment.told import NOBODY, Begun, Ended, Listening, Telling, size_of
from concilium.federation.requests import Request
from concilium.foundation import components
from concilium.foundation.files import locked
from concilium.heads import newton  # noqa: F401 (its requests are asked for below)
from concilium.orchestration.observers import PhaseStarted, Resumed, RoundFinished, Warned
from concilium.studies.bench import Job
from tests.deployment.worlds import METHODS, STUDY, write_features

from .conftest import Command

COMMANDS = [command.name for command in group.registered_commands if command.name]
WITH_FLOWER = pytest.mark.skipif(
    any(find_spec(name) is None for name in needs.MODULES),
    reason="the extra `flower` is not installed",
)


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """What commands import takes a second, once."""
    if all(find_spec(name) for name in needs.MODULES):
        from concilium.cli.federation import submitting  # noqa: F401


def found(concilium: Command, *hospitals: str) -> Path:
    """A federation of these hospitals, with features of each, and a study beside it."""
    options = [part for name in hospitals for part in ("--hospital", name)]
    said = concilium("federation", "init", "trial", *options, "--port", "9555")
    assert said.code == 0, said.err
    for seed, name in enumerate(hospitals, start=1):
        write_features(Path("trial") / name / "features.npz", seed)
        file = Path("trial") / name / "hospital.toml"
        lines = file.read_text().splitlines()
        own = 'source = {name = "feature_table", file = "features.npz"}'
        file.write_text("\n".join(own if at.startswith("source = ") else at for at in lines))
    Path("study.toml").write_text(STUDY + METHODS)
    return Path("trial")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example(concilium: Command, name: str) -> None:
    shown = concilium("federation", name, "--help")
    assert shown.code == 0
    assert f"Example: concilium federation {name}" in " ".join(shown.out.split())


def test_every_argument_and_option_says_what_it_is() -> None:
    for command in group.registered_commands:
        assert command.callback is not None
        hints: dict[str, Any] = get_type_hints(command.callback, include_extras=True)
        for name, hint in hints.items():
            for info in getattr(hint, "__metadata__", ()):
                assert info.help, f"{command.name}: {name}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("init", "x"),
        ("join", "x", "--name", "n", "--authority", "ca.crt", "--address", "h:1"),
        ("admit", "x", "n.pub"),
        ("coordinator", "x"),
        ("hospital", "x"),
        ("start", "s.toml", "--coordinator", "x"),
        ("resume", "r", "--coordinator", "x"),
        ("stop", "r", "--coordinator", "x"),
        ("trial",),
    ],
)
def test_without_flower_a_command_says_how_to_install_it(
    concilium: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(needs, "MODULES", ("flwr", "a_package_that_nobody_has"))
    said = concilium("federation", *arguments)
    assert said.code == 2
    assert 'pip install "concilium[flower]"' in said.err
    assert "Traceback" not in said.err


@WITH_FLOWER
def test_init_makes_a_coordinator_and_a_folder_for_each_hospital(concilium: Command) -> None:
    base = found(concilium, "north", "St. Mary")
    home = base / "coordinator"
    for name in ("ca.crt", "ca.key", "server.crt", "server.key", "coordinator.toml"):
        assert (home / name).is_file()
    assert {path.name for path in (home / "members").iterdir()} == {"north.pub", "St. Mary.pub"}
    for name in ("north", "St. Mary"):
        folder = base / name
        assert (folder / "ca.crt").read_bytes() == (home / "ca.crt").read_bytes()
        assert folders.address_of(folder) == "127.0.0.1:9555"
        assert not (folder / "ca.key").exists()
        assert (folder / "node.pub").read_bytes() == (home / "members" / f"{name}.pub").read_bytes()
    for secret in (home / "ca.key", home / "server.key", base / "north" / "node.key"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    own = folders.read_home(home)
    assert (own.listen, own.port, own.hosts) == ("127.0.0.1", 9555, ())


@WITH_FLOWER
def test_a_coordinator_that_others_reach_listens_to_them_under_its_names(
    concilium: Command,
) -> None:
    from cryptography import x509

    said = concilium("federation", "init", "real", "--host", "fed.example", "--host", "10.0.0.7")
    assert "--address fed.example:9443" in said.out
    home = folders.read_home(Path("real/coordinator"))
    assert (home.listen, home.hosts) == ("0.0.0.0", ("fed.example", "10.0.0.7"))
    certificate = x509.load_pem_x509_certificate((home.folder / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "fed.example" in names.get_values_for_type(x509.DNSName)
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "127.0.0.1",
        "10.0.0.7",
    ]
    assert {path.name for path in Path("real").iterdir()} == {"coordinator"}


@WITH_FLOWER
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--hospital", "a", "--hospital", "a"), "given 2 times"),
        (("--hospital", "a/b"), "name"),
        (("--hospital", "coordinator"), "coordinator's own folder"),
        (("--port", "70000"), "65535"),
    ],
)
def test_init_writes_nothing_where_something_is_wrong(
    concilium: Command, options: tuple[str, ...], reason: str
) -> None:
    said = concilium("federation", "init", "trial", *options)
    assert said.code == 2
    assert reason in said.err
    assert not Path("trial").exists()


@WITH_FLOWER
def test_a_federation_is_not_made_twice(concilium: Command) -> None:
    found(concilium, "north")
    before = Path("trial/coordinator/ca.crt").read_bytes()
    said = concilium("federation", "init", "trial", "--hospital", "south")
    assert said.code == 2
    assert "holds a coordinator already" in said.err
    assert Path("trial/coordinator/ca.crt").read_bytes() == before


@WITH_FLOWER
def test_a_hospital_joins_with_its_own_key_and_is_admitted_by_its_public_half(
    concilium: Command,
) -> None:
    concilium("federation", "init", "real", "--host", "fed.example")
    authority = Path("real/coordinator/ca.crt")
    joined = concilium(
        *("federation", "join", "here", "--name", "North West", "--authority", authority),
        *("--address", "fed.example:9443"),
    )
    assert joined.code == 0, joined.err
    assert "Send here/North West.pub" in joined.out
    admitted = concilium("federation", "admit", "real/coordinator", "here/North West.pub")
    assert admitted.code == 0, admitted.err
    assert "North West is admitted" in admitted.out
    (mark,) = {word for word in joined.out.split() if word.startswith("SHA256:")}
    assert mark.rstrip(":") in {word.rstrip(":") for word in admitted.out.split()}
    assert (Path("real/coordinator/members") / "North West.pub").exists()
    other = concilium(
        *("federation", "admit", "real/coordinator", "here/North West.pub", "--name", "x")
    )
    assert other.code == 2


@WITH_FLOWER
@pytest.mark.parametrize(
    ("authority", "address", "reason"),
    [
        ("real/coordinator/ca.crt", "fed.example", "HOST:PORT"),
        ("real/coordinator/ca.crt", "fed.example:99999", "65535"),
        ("real/coordinator/ca.key", "fed.example:1", "no certificate"),
        ("nowhere.crt", "fed.example:1", "cannot be read"),
    ],
)
def test_what_is_wrong_with_joining_is_said_before_a_key_is_made(
    concilium: Command, authority: str, address: str, reason: str
) -> None:
    concilium("federation", "init", "real")
    said = concilium(
        *("federation", "join", "here", "--name", "north"),
        *("--authority", authority, "--address", address),
    )
    assert said.code == 2
    assert reason in said.err
    assert not Path("here/node.key").exists()


@WITH_FLOWER
def test_a_private_key_is_not_admitted(concilium: Command) -> None:
    found(concilium, "north")
    said = concilium("federation", "admit", "trial/coordinator", "trial/north/node.key")
    assert said.code == 2
    assert "node.pub" in said.err


@WITH_FLOWER
@pytest.mark.slow
def test_a_study_is_shown_with_what_leaves_and_allowed(
    concilium: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(concilium, "north")
    arguments = ("federation", "allow", "study.toml", "--hospital", "trial/north")
    monkeypatch.setattr("typer.confirm", lambda text: False)
    said = concilium(*arguments)
    assert said.code == 1
    assert not list(Path("trial/north/studies").iterdir())
    said = concilium(*arguments, "--yes")
    assert said.code == 0, said.err
    for words in ("Effusion", "newton", "the change of the model", "curvature", "patients"):
        assert words in said.out
    (file,) = Path("trial/north/studies").iterdir()
    assert file.read_text() == Path("study.toml").read_text()
    shown = json.loads(concilium("federation", "status", "trial/north", "--json").out)
    assert (shown["running"], list(shown["studies"])) == (False, [file.stem])


@WITH_FLOWER
def test_a_study_that_does_not_fit_the_hospital_is_not_allowed(concilium: Command) -> None:
    found(concilium, "north")
    text = Path("study.toml").read_text()
    Path("labels.toml").write_text(text.replace('"Hernia"]', '"Nodule"]'))
    said = concilium("federation", "allow", "labels.toml", "--hospital", "trial/north", "--yes")
    assert said.code == 2
    assert "Nodule" in said.err
    write_features(Path("trial/north/features.npz"), 1, 20)
    said = concilium("federation", "allow", "study.toml", "--hospital", "trial/north", "--yes")
    assert said.code == 2
    assert "fewer than 10 patients" in said.err
    assert not list(Path("trial/north/studies").iterdir())


@WITH_FLOWER
def test_the_status_of_a_coordinator_tells_its_hospitals_and_runs(concilium: Command) -> None:
    base = found(concilium, "north", "south")
    run = base / "coordinator" / "runs" / "one"
    telling, job = Telling(run), Job("fedavg", 0)
    telling(NOBODY, Begun())
    telling(job, PhaseStarted("rounds"))
    record = {"round": 2, "cohort": ["north", "south"], "loss": 0.5, "model": "abc"}
    telling(job, RoundFinished({**record, "left_out": {"south": "silent: nothing came"}}, 7))
    found_out = json.loads(concilium("federation", "status", base / "coordinator", "--json").out)
    assert found_out["hospitals"] == {"north": "offline", "south": "offline"}
    (own,) = found_out["runs"]
    assert (own["state"], own["method"], own["round"], own["rounds"]) == ("stopped", "fedavg", 2, 7)
    (run / "error.txt").write_text("too few hospitals")
    said = concilium("federation", "status", base / "coordinator")
    assert "run one: failed, fedavg: rounds, round 2 of 7" in said.out
    assert "without south: silent: nothing came" in said.out
    assert "too few hospitals" in said.out
    with locked(run, AssertionError()):
        (own,) = status.of_coordinator(base / "coordinator")["runs"]
        assert own["state"] == "running"


@WITH_FLOWER
def test_what_cannot_be_started_says_why_and_what_to_do(concilium: Command) -> None:
    base = found(concilium, "north", "south")
    home = ("--coordinator", base / "coordinator")
    said = concilium("federation", "start", "study.toml", *home)
    assert said.code == 1
    assert "start it: concilium federation coordinator" in said.err
    said = concilium("federation", "start", "study.toml", *home, "--quorum", "3")
    assert said.code == 2
    assert "3 hospitals are asked for, 2 are admitted" in said.err
    said = concilium("federation", "start", "study.toml", *home, "--out", "/elsewhere/run")
    assert said.code == 2
    assert "outside of the coordinator's folder" in said.err
    said = concilium("federation", "resume", "nothing", *home)
    assert said.code == 2
    assert "no run was started there" in said.err
    said = concilium("federation", "start", "study.toml", "--coordinator", base / "north")
    assert said.code == 2
    assert "coordinator.toml" in said.err


@WITH_FLOWER
def test_a_side_runs_once(concilium: Command) -> None:
    base = found(concilium, "north")
    for name, command in (("coordinator", "coordinator"), ("north", "hospital")):
        with locked(base / name, AssertionError()):
            said = concilium("federation", command, base / name)
        assert said.code == 2
        assert "runs already" in said.err


def test_a_folder_that_is_no_side_is_refused(concilium: Command) -> None:
    said = concilium("federation", "status", "nowhere")
    assert said.code == 2
    assert "concilium federation init" in said.err


@WITH_FLOWER
def test_a_trial_removes_nothing_but_a_trial(concilium: Command) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    said = concilium("federation", "trial", "--out", "mine")
    assert said.code == 2
    assert Path("mine/thesis.txt").read_text() == "years of work"
    assert not trial.is_trial(Path("mine"))


def test_what_a_run_tells_is_heard_once_and_as_it_was(tmp_path: Path) -> None:
    telling, job = Telling(tmp_path), Job("fedavg", 1, 2)
    record = {"round": 1, "cohort": ["a"], "loss": 0.5, "bytes_up": 3, "bytes_down": 4}
    events = [Resumed(3), Warned("read this"), PhaseStarted("rounds"), RoundFinished(record, 9)]
    telling(NOBODY, Begun())
    listening = Listening(tmp_path)
    assert [told.event for told in listening.new()] == [Begun()]
    after = size_of(tmp_path)
    for event in events:
        telling(job, event)
    telling(NOBODY, Ended())
    with (tmp_path / "told.jsonl").open("a") as file:
        file.write('{"at": 1, "meth')  # a crash
    for own in (listening, Listening(tmp_path, after)):
        heard = list(own.new())
        assert [told.event for told in heard] == [*events, Ended()]
        assert {told.job for told in heard} == {job, NOBODY}
        assert not list(own.new())
    with (tmp_path / "told.jsonl").open("a") as file:
        file.write('od": "m", "seed": 0, "fold": 0, "event": "Resumed", "round": 4}\n{"at')
    assert [told.event for told in listening.new()] == [Resumed(4)]  # it had only been slow
    telling(NOBODY, Begun())
    assert [told.event for told in listening.new()] == [Begun()]  # and this was a crash


def test_every_question_says_in_words_what_its_answer_is() -> None:
    for kind in ("heads", "samplings"):
        for name in components.names(kind):
            components.find(kind, name)
    asked = {own.__name__ for own in Request.__subclasses__() if own.__module__[:9] == "concilium"}
    elsewhere = {"SplitProfileRequest"}  # of `recommend`, which no federation asks
    assert not asked - elsewhere - WORDS.keys()


RESULT = {
    "method": "m",
    "seed": 0,
    "fold": 0,
    "history": [{"model": "a" * 64, "bytes_up": 1}, {"model": "b" * 64, "bytes_up": 1}],
    "model": "c" * 64,
    "test": {"auroc": 0.5},
    "seconds": 1.0,
}


def test_two_runs_are_compared_round_by_round_and_in_every_number() -> None:
    other: dict[str, Any] = json.loads(json.dumps({**RESULT, "seconds": 9.0}))
    other["history"][0]["bytes_up"] = 5
    assert [same for *_, same in compared([RESULT], [other])] == [True] * 4
    other["test"]["auroc"] = 0.500001
    assert [same for *_, same in compared([RESULT], [other])] == [True, True, True, False]
    other["history"][1]["model"] = "d" * 64
    assert [same for *_, same in compared([RESULT], [other])] == [True, False, True, False]
    other["history"].pop()
    assert [same for *_, same in compared([RESULT], [other])][1] is False
    assert [same for *_, same in compared([RESULT], [])] == [False]


def test_seconds_are_told_by_phase_and_bytes_by_hospital(tmp_path: Path) -> None:
    lines = [
        (10.0, Begun()),
        (12.0, PhaseStarted("statistics")),
        (13.0, PhaseStarted("rounds")),
        (17.0, RoundFinished({"round": 1, "cohort": ["a", "b"], "bytes_up": 30}, 2)),
        (21.0, RoundFinished({"cohort": ["a", "b"], "left_out": {"a": ""}, "bytes_up": 15}, 2)),
        (21.0, PhaseStarted("evaluation")),
        (24.0, Ended()),
    ]
    from concilium.deployment.told import Told

    told = [Told(at, NOBODY, event) for at, event in lines]
    spent = seconds_of(told)
    assert spent == {
        "reading, introductions": 2.0,
        "statistics": 1.0,
        "rounds": 8.0,
        "evaluation": 3.0,
        "a round (mean)": 4.0,
    }
    assert bytes_of(told, "bytes_up") == 15
