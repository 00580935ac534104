"""Planted canaries: patients' numbers and paths stand in data and in errors, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from concilium.deployment import site as site_module
from concilium.deployment.allowed import allow
from concilium.deployment.coordinator import run_federation
from concilium.deployment.loopback import Loopback
from concilium.deployment.site import Site
from concilium.federation.client import Client
from concilium.federation.questions import Question
from concilium.federation.requests import StatisticsRequest
from concilium.federation.wire import encode
from concilium.foundation.errors import DataError, FederationError, InputError, Problem
from concilium.orchestration.carriers import Terms
from concilium.sources.feature_table import FeatureTable
from concilium.training import local
from tests.deployment.letters import broadcast_of, introduce, work_of
from tests.deployment.worlds import silent, study_of, write_federation, write_hospital

CANARY = "CANARY4711"


class Listening:
    """A site whose answers are kept."""

    def __init__(self, folder: Path) -> None:
        self.site, self.said = Site(folder), [b""]

    def answer(self, letter: bytes) -> bytes:
        self.said.append(self.site.answer(letter))
        return self.said[-1]


def write_world(base: Path) -> tuple[Path, dict[str, Path]]:
    """Two hospitals whose patients are canaries, in folders that are canaries, too."""
    study, _ = write_federation(base, names=())
    patient = np.array([f"{CANARY}-{row}" for row in range(48)])
    folders = {}
    for seed, name in enumerate(("east", "north")):
        home = base / f"{CANARY}-{name}"
        folders[name] = write_hospital(home, name, seed, patient=patient)
        (home / "features.npz").rename(home / f"{CANARY}.npz")
        text = (home / "hospital.toml").read_text(encoding="utf-8")
        text = text.replace("features.npz", f"{CANARY}.npz")
        (home / "hospital.toml").write_text(text, encoding="utf-8")
        allow(study, home)
    return study, folders


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def check(said: list[bytes], *folders: Path) -> None:
    """No canary in what was said, nor in a file of these folders."""
    canary = CANARY.encode()
    assert not [reply for reply in said if canary in reply]
    assert not [
        path.name for folder in folders for path in files(folder) if canary in path.read_bytes()
    ]


def raising(error: Exception) -> Callable[..., object]:
    def raise_it(*_: object, **__: object) -> object:
        raise error

    return raise_it


ERRORS = [
    DataError(Problem(f"{CANARY}.csv, row 3", f"unknown label of patient {CANARY}")),
    InputError(f"{CANARY}"),
    FileNotFoundError(2, "No such file", f"/data/{CANARY}/a.png"),
    ValueError(f"could not convert {CANARY}"),
    KeyError(CANARY),
    UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    RuntimeError(f"can't allocate memory for {CANARY}"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "place",
    [(FeatureTable, "load"), (local, "batches"), (Client, "statistics"), (site_module, "decode")],
    ids=lambda place: place[1],
)
def test_an_error_keeps_its_text_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[object, str], error: Exception
) -> None:
    """Where data are read, where they are trained on, where they are counted, where letters are."""
    study, folders = write_world(tmp_path)
    folder = folders["east"]
    letters = [
        encode(Question(work_of(study), 7, "east", 0, what))
        for what in (introduce(), StatisticsRequest(), broadcast_of(study))
    ]
    monkeypatch.setattr(*place, raising(error))
    site = Site(folder)
    said = [site.answer(letter) for letter in letters]
    assert any(b"Refusal" in reply for reply in said)
    check(said, folder / "logs")
    log = (folder / "logs" / "site.log").read_text(encoding="utf-8")
    assert f"{type(error).__name__} at concilium." in log


@pytest.mark.slow
def test_no_canary_in_a_whole_run(tmp_path: Path) -> None:
    """In no answer, no log, no memory, no studies, no run folder."""
    study, folders = write_world(tmp_path / "hospitals")
    sites = {name: Listening(folder) for name, folder in folders.items()}
    run, text = tmp_path / "run", study.read_text(encoding="utf-8")
    with Loopback(sites) as carrier:
        run_federation(study_of(study), text, run, carrier, Terms(60), False, silent)
    said = [reply for own in sites.values() for reply in own.said]
    assert len(said) > 50
    for folder in folders.values():
        check(said, folder / "logs", folder / "memory", folder / "studies")
    check([], run)


def test_no_canary_in_the_run_folder_or_the_error_where_hospitals_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folders = write_world(tmp_path / "hospitals")
    monkeypatch.setattr(FeatureTable, "load", raising(ERRORS[0]))
    sites = {name: Site(folder) for name, folder in folders.items()}
    run, text = tmp_path / "run", study.read_text(encoding="utf-8")
    with Loopback(sites) as carrier, pytest.raises(FederationError) as caught:
        run_federation(study_of(study), text, run, carrier, Terms(60), False, silent)
    assert "no_data" in str(caught.value)
    assert CANARY not in str(caught.value)
    check([], run, folders["east"] / "logs")
