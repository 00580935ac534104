"""A hospital answers every letter: with a value, or with one of the codes and nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from concilium import __version__
from concilium.deployment.allowed import allow
from concilium.deployment.diary import FILE, Diary
from concilium.deployment.site import Site
from concilium.federation.client import Client
from concilium.federation.messages import Update
from concilium.federation.questions import CODES, Answer, Introduce, Introduction, Question, Refusal
from concilium.federation.requests import EvaluationRequest, StatisticsRequest
from concilium.federation.wire import decode, encode
from concilium.foundation.errors import DivergenceError
from concilium.labels.statistics import LabelStatistics
from concilium.sources.feature_table import FeatureTable
from tests.deployment.letters import ask, broadcast_of, code, introduce, work_of
from tests.deployment.worlds import METHODS, STUDY, write_features, write_federation, write_hospital

World = tuple[Path, Path]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A study, and the folder of a hospital that allows it."""
    study, folders = write_federation(tmp_path, names=("east",))
    return study, folders["east"]


def test_a_hospital_introduces_itself_without_a_count(world: World) -> None:
    study, folder = world
    answer = ask(Site(folder), work_of(study), introduce())
    enough = dict.fromkeys(("train", "validation", "test"), True)
    assert answer == Answer(7, "east", Introduction((4,), enough, __version__, {}))


def test_questions_and_rounds_are_answered(world: World) -> None:
    study, folder = world
    site, work, broadcast = Site(folder), work_of(study), broadcast_of(study)
    counts = ask(site, work, StatisticsRequest("train")).value
    assert (counts.num_images, counts.num_patients) == (24, 24)
    update = ask(site, work, broadcast).value
    assert isinstance(update, Update)
    assert update.weight["head.bias"] == 24
    seen = ask(site, work, EvaluationRequest(broadcast.model, "validation"), counted=1).value
    assert seen.statistics.num_images == 12
    log = (folder / "logs" / "site.log").read_text(encoding="utf-8").splitlines()
    assert [line.split()[1:4] for line in log] == [
        ["answered", "7", "StatisticsRequest:"],
        ["answered", "7", "Broadcast:"],
        ["answered", "7", "EvaluationRequest:"],
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"study": "0" * 64},
        {"study": "../../etc/passwd"},
        {"method": "other"},
        {"method": "pooled"},
        {"seed": 4},
        {"fold": 1},
        {"fold": -1},
        {"learning_rate": 0.2},
    ],
)
def test_what_does_not_stand_in_an_allowed_study_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    study, folders = write_federation(tmp_path, STUDY + METHODS + "[methods.pooled]\n", ("east",))
    site = Site(folders["east"])
    assert code(site, work_of(study, **change), StatisticsRequest()) == "unknown_study"
    assert code(site, work_of(study, **change), introduce()) == "unknown_study"


def test_a_study_that_is_no_longer_allowed_is_refused(world: World) -> None:
    study, folder = world
    site, work = Site(folder), work_of(study)
    assert isinstance(ask(site, work, StatisticsRequest()), Answer)
    (folder / "studies" / f"{work.study}.toml").unlink()
    assert code(site, work, StatisticsRequest()) == "unknown_study"


def test_a_letter_for_another_hospital_is_refused(world: World) -> None:
    study, folder = world
    assert code(Site(folder), work_of(study), introduce(), hospital="north") == "not_for_me"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"version": "0.0.0"}, "version"),
        ({"labels": ("Mass", "Effusion", "Hernia")}, "other_data"),
        ({"input_shape": (5,)}, "other_data"),
        ({"input_shape": (1, 4, 4)}, "other_data"),
    ],
)
def test_an_introduction_that_does_not_fit_is_refused(
    world: World, change: dict[str, object], wanted: str
) -> None:
    study, folder = world
    assert code(Site(folder), work_of(study), introduce(**change)) == wanted


def test_a_hospital_without_a_label_of_the_study_is_refused(world: World) -> None:
    study, folder = world
    names = np.array(["Effusion", "Mass", "Something"])
    write_features(folder / "features.npz", 1, label_names=names)
    for what in (introduce(), StatisticsRequest(), broadcast_of(study)):
        assert code(Site(folder), work_of(study), what) == "other_data"
    text = (folder / "hospital.toml").read_text(encoding="utf-8")
    own = text + '[data.labels]\nHernia = "Something"\n'
    (folder / "hospital.toml").write_text(own, encoding="utf-8")
    assert isinstance(ask(Site(folder), work_of(study), introduce()), Answer)


# 24, 12 and 12 patients of 48: the smallest part decides.
@pytest.mark.parametrize(("patients", "least", "enough"), [(48, 12, True), (48, 13, False)])
def test_the_policy_of_the_hospital_wins(
    tmp_path: Path, patients: int, least: int, enough: bool
) -> None:
    study, _ = write_federation(tmp_path, names=())
    more = f"[policy]\nleast_patients = {least}\n"
    folder = write_hospital(tmp_path / "east", "east", 1, more, patients=patients)
    allow(study, folder)
    for what in (introduce(), StatisticsRequest(), broadcast_of(study)):
        answer = ask(Site(folder), work_of(study), what)
        assert isinstance(answer, Answer) == enough
        assert enough or answer.code == "too_few_patients"


@pytest.mark.parametrize("patients", [2, 30])
def test_below_ten_patients_of_a_part_nobody_answers(tmp_path: Path, patients: int) -> None:
    study, _ = write_federation(tmp_path, names=())
    folder = write_hospital(tmp_path / "east", "east", 1, patients=patients)
    allow(study, folder)
    for what in (introduce(), StatisticsRequest("train"), broadcast_of(study)):
        assert code(Site(folder), work_of(study), what) == "too_few_patients"


def test_patients_count_not_images(tmp_path: Path) -> None:
    """48 images of 24 patients leave 6 patients for a part."""
    study, _ = write_federation(tmp_path, names=())
    patient = np.array([f"P{row // 2}" for row in range(48)])
    folder = write_hospital(tmp_path / "east", "east", 1, patient=patient)
    allow(study, folder)
    assert code(Site(folder), work_of(study), introduce()) == "too_few_patients"


def test_a_part_that_the_study_does_not_ask_for_may_be_empty(tmp_path: Path) -> None:
    text = (STUDY + METHODS).replace("[0.5, 0.25, 0.25]", "[0.75, 0.25, 0.0]")
    study, folders = write_federation(tmp_path, text, ("east",))
    answer = ask(Site(folders["east"]), work_of(study), introduce())
    assert answer.value.enough == {"train": True, "validation": True, "test": False}


def test_other_data_than_those_that_a_run_began_on_are_refused(world: World) -> None:
    study, folder = world
    work = work_of(study)
    assert isinstance(ask(Site(folder), work, introduce()), Answer)
    write_features(folder / "features.npz", 2)
    assert code(Site(folder), work, StatisticsRequest()) == "data_changed"
    assert code(Site(folder), work, broadcast_of(study)) == "data_changed"
    other = replace(work, run="another run")
    assert isinstance(ask(Site(folder), other, StatisticsRequest()), Answer)


def test_data_that_cannot_be_read_are_no_data(world: World) -> None:
    study, folder = world
    (folder / "features.npz").unlink()
    assert code(Site(folder), work_of(study), introduce()) == "no_data"


def test_a_round_that_the_study_does_not_have_is_refused(world: World) -> None:
    study, folder = world
    for round_ in (-1, 3):
        assert code(Site(folder), work_of(study), broadcast_of(study, round_)) == "policy"


# ---- whatever happens: a code


def raising(error: Exception) -> Callable[..., object]:
    def raise_it(*_: object, **__: object) -> object:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ValueError("x"), "failed"),
        (KeyError("x"), "failed"),
        (RecursionError(), "failed"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 5 bytes"), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left", "/secret/path"), "disk_full"),
        (OSError(errno.EACCES, "Permission denied", "/secret/path"), "failed"),
        (DivergenceError("x"), "diverged"),
    ],
)
def test_an_error_in_training_is_a_code(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, wanted: str
) -> None:
    study, folder = world
    monkeypatch.setattr(Client, "train", raising(error))
    assert wanted in CODES
    assert code(Site(folder), work_of(study), broadcast_of(study)) == wanted


def test_a_disk_that_is_full_is_a_code_even_where_the_log_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = world
    site, work, broadcast = Site(folder), work_of(study), broadcast_of(study)
    assert isinstance(ask(site, work, StatisticsRequest()), Answer)
    full = OSError(errno.ENOSPC, "No space left")
    monkeypatch.setattr("concilium.deployment.memory.write_atomically", raising(full))
    monkeypatch.setattr(Path, "open", raising(full))
    assert code(site, work, broadcast) == "disk_full"


def test_an_answer_that_cannot_travel_is_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = world
    monkeypatch.setattr(Client, "statistics", lambda *_: object())
    assert code(Site(folder), work_of(study), StatisticsRequest()) == "failed"


def garbage(letter: bytes, seed: int) -> bytes:
    """Noise, a cut letter, or one with some bytes changed."""
    generator = np.random.default_rng(seed)
    if seed % 3 == 0:
        return generator.bytes(int(generator.integers(0, 400)))
    if seed % 3 == 1:
        return letter[: int(generator.integers(0, len(letter)))]
    changed = bytearray(letter)
    for place in generator.integers(0, len(letter), 3):
        changed[place] = int(generator.integers(0, 256))
    return bytes(changed)


@pytest.mark.slow
def test_two_hundred_broken_letters_are_answered(world: World) -> None:
    study, folder = world
    site, work = Site(folder), work_of(study)
    letter = encode(Question(work, 7, "east", 0, StatisticsRequest()))
    refused = 0
    for seed in range(200):
        reply = decode(site.answer(garbage(letter, seed)))
        assert isinstance(reply, Answer | Refusal)
        assert isinstance(reply, Answer) or reply.code in CODES
        refused += isinstance(reply, Refusal)
    assert refused > 150
    assert isinstance(ask(site, work, StatisticsRequest()), Answer)  # and it goes on


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        ("a", "b"),
        StatisticsRequest(),
        Question(None, 7, "east", 0, StatisticsRequest()),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_question_is_unreadable(world: World, value: object) -> None:
    reply = decode(Site(world[1]).answer(encode(value)))
    assert reply == Refusal(-1, "east", "unreadable")


@pytest.mark.parametrize(
    "change",
    [
        {"number": True},
        {"number": 1.5},
        {"number": 2**63},
        {"number": -1},
        {"counted": -1},
        {"counted": None},
        {"counted": 2**63},
        {"hospital": ("east",)},
        {"what": 3},
        {"what": Introduce(labels=["a"], input_shape=3)},
    ],
)
def test_a_question_with_a_field_of_another_kind_is_unreadable(
    world: World, change: dict[str, object]
) -> None:
    question = Question(work_of(world[0]), 7, "east", 0, StatisticsRequest())
    letter = encode(replace(question, **change))  # type: ignore[arg-type]
    assert decode(Site(world[1]).answer(letter)) == Refusal(-1, "east", "unreadable")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 3.0},
        {"seed": np.int8(3)},
        {"seed": np.array(3)},
        {"fold": 0.0},
        {"fold": False},
        {"learning_rate": np.float64(0.1)},
        {"learning_rate": np.array([0.1])},
        {"study": 3},
        {"method": ("newton",)},
        {"run": 7},
        {"run": "x" * 201},
    ],
)
def test_a_training_is_named_in_one_form_only(world: World, change: dict[str, object]) -> None:
    """3.0 equals 3, but its patients would be dealt out by another seed: differing test parts."""
    study, folder = world
    question = Question(work_of(study, **change), 7, "east", 0, StatisticsRequest("test"))
    assert decode(Site(folder).answer(encode(question))) == Refusal(-1, "east", "unreadable")


@pytest.mark.parametrize(
    "change",
    [
        {"label_statistics": Introduce(("a",))},
        {"label_statistics": LabelStatistics(*"abcde")},  # type: ignore[arg-type]
        {"round": 0.0},
        {"pace": 1},
        {"pace": 0.0},
        {"pace": float("inf")},
        {"pace": float("nan")},
        {"model": {"a": 1}},
        {"extras": None},
    ],
)
def test_a_broadcast_with_a_field_of_another_kind_is_unreadable_and_forgotten(
    world: World, change: dict[str, object]
) -> None:
    study, folder = world
    site, work, broadcast = Site(folder), work_of(study), broadcast_of(study)
    sent = replace(broadcast, label_statistics=LabelStatistics.zero(3))
    broken = Question(work, 7, "east", 0, replace(sent, **change))  # type: ignore[arg-type]
    assert decode(site.answer(encode(broken))) == Refusal(-1, "east", "unreadable")
    counts = ask(site, work, StatisticsRequest("train")).value
    assert isinstance(ask(site, work, replace(sent, label_statistics=counts)), Answer)


def test_lines_of_the_log_are_cut(world: World) -> None:
    diary = Diary(world[1])
    diary.note("x" * 100_000)
    assert len((world[1] / FILE).read_text(encoding="utf-8")) < 600


def test_data_are_read_once_for_all_methods(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    study, folder = world
    loads: list[Path] = []
    load = FeatureTable.load
    monkeypatch.setattr(
        FeatureTable, "load", lambda self, cache: loads.append(cache) or load(self, cache)
    )
    site, work = Site(folder), work_of(study)
    for what in (introduce(), StatisticsRequest(), broadcast_of(study), StatisticsRequest("test")):
        assert isinstance(ask(site, work, what), Answer)
    assert loads == [folder / "cache"]
