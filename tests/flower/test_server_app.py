"""The coordinator's side of a run: which studies it runs, and what it says of one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("flwr", reason="the extra `flower` is not installed")

from flwr.app import Context
from flwr.serverapp import Grid

from concilium.flower import server_app
from concilium.flower.keys import add_member, make_node_key
from concilium.foundation.errors import FederationError
from concilium.orchestration.carriers import Carrier, Terms

GRID = cast(Grid, object())
GOOD = {"study": "study.toml", "out": "runs/one"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "coordinator"
    add_member(home, "north", make_node_key(tmp_path / "north"))
    monkeypatch.setenv(server_app.COORDINATOR, str(home))
    return home


def conducted(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> list[Any]:
    calls: list[Any] = []

    def conduct(carrier: Carrier, study: Path, out: Path, terms: Terms) -> None:
        calls.append((carrier.hospitals, study, out, terms))
        if error is not None:
            raise error

    monkeypatch.setattr(server_app, "load", lambda _: conduct)
    return calls


def test_a_run_goes_to_the_conductor_with_members_paths_and_terms(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = conducted(monkeypatch)
    assert server_app.run(GRID, {**GOOD, "deadline": 5.0, "quorum": 1, "other": "x"})
    terms = Terms(deadline=5.0, quorum=1)
    assert calls == [(("north",), home / "study.toml", home / "runs" / "one", terms)]


@pytest.mark.parametrize(
    "path", ["../study.toml", "/etc/passwd", "", ".", "runs/../../x", 3, None, "link/x"]
)
@pytest.mark.parametrize("key", ["study", "out"])
def test_nothing_outside_the_coordinators_folder_is_run_or_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, key: str, path: Any, tmp_path: Path
) -> None:
    (home / "link").symlink_to(tmp_path)
    calls = conducted(monkeypatch)
    before = set(tmp_path.rglob("*"))
    assert not server_app.run(GRID, {**GOOD, key: path})
    assert not calls
    written = set(tmp_path.rglob("*")) - before
    allowed = {home / "runs", home / "runs" / "one", home / "runs" / "one" / server_app.ERROR}
    assert written <= allowed


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FederationError("north does not answer: start it"), "north does not answer: start it\n"),
        (KeyboardInterrupt(), "the run was interrupted; resume it\n"),
    ],
)
def test_why_a_run_failed_stands_in_its_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    conducted(monkeypatch, error)
    assert not server_app.run(GRID, GOOD)
    path = home / "runs" / "one" / server_app.ERROR
    assert path.read_text() == said
    conducted(monkeypatch)
    assert server_app.run(GRID, GOOD)
    assert not path.exists()


def test_an_unexpected_error_is_told_to_the_coordinator_with_its_place(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conducted(monkeypatch, ZeroDivisionError("by nothing"))
    assert not server_app.run(GRID, GOOD)
    text = (home / "runs" / "one" / server_app.ERROR).read_text()
    assert "ZeroDivisionError: by nothing" in text
    assert "test_server_app.py" in text


def test_flower_is_told_no_more_than_that_it_failed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conducted(monkeypatch, ValueError("patient 4711"))
    context = cast(Context, type("Settings", (), {"run_config": GOOD}))
    with pytest.raises(server_app.RunFailedError) as caught:
        server_app.app(GRID, context)
    assert str(caught.value) == server_app.FAILED
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("wrong", [{"quorum": 0}, {"deadline": -1.0}])
def test_terms_that_cannot_be_are_an_error_of_the_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    calls = conducted(monkeypatch)
    assert not server_app.run(GRID, {**GOOD, **wrong})
    assert not calls
    assert next(iter(wrong)) in (home / "runs" / "one" / server_app.ERROR).read_text()


@pytest.mark.slow
def test_the_conductor_that_is_installed_is_found() -> None:
    assert callable(server_app.load(server_app.CONDUCTOR))
