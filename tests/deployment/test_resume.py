"""A coordinator or a hospital killed at any round: the run goes on to the undisturbed model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from concilium.foundation.errors import FederationError, StudyError
from concilium.orchestration.carriers import Terms
from concilium.orchestration.observers import Event, RoundFinished
from concilium.studies.bench import Job
from tests.deployment.worlds import STUDY, hashes, run_over, write_federation

SCAFFOLD = '[methods.own]\nalgorithm = "scaffold"\n'
KEPT = '[methods.own]\nsharing = "all_but_normalisation"\ncompression = "top_k"\n'


class KilledError(BaseException):
    """The process ends here; nobody catches it."""


def killed_after(round_: int) -> object:
    """An observer in whose process the coordinator dies, once so many rounds are committed."""

    def observe(job: Job, event: Event) -> None:
        if isinstance(event, RoundFinished) and event.record["round"] == round_:
            raise KilledError

    return observe


def text_of(method: str, every: int = 1) -> str:
    table = f"checkpoint_every = {every}\nrounds = 3"
    return STUDY.replace("rounds = 3", table).replace("bootstrap = 4", "bootstrap = 0") + method


@pytest.mark.slow
@pytest.mark.parametrize("method", [SCAFFOLD, KEPT])
@pytest.mark.parametrize("every", [1, 2])
def test_a_coordinator_killed_after_every_round(tmp_path: Path, method: str, every: int) -> None:
    """Each time all hospitals are new objects on the same folders, too."""
    text = text_of(method, every)
    undisturbed = run_over(*write_federation(tmp_path / "one", text), tmp_path / "one" / "run")
    study, folders = write_federation(tmp_path / "two", text)
    run = tmp_path / "two" / "run"
    for round_ in (1, 2, 3):
        with pytest.raises(KilledError):
            run_over(study, folders, run, resume=round_ > 1, observer=killed_after(round_))  # type: ignore[arg-type]
    disturbed = run_over(study, folders, run, resume=True)
    assert hashes(disturbed) == hashes(undisturbed)
    assert disturbed[0]["model"] == undisturbed[0]["model"]
    assert disturbed[0]["test"] == undisturbed[0]["test"]


@pytest.mark.slow
def test_killed_in_the_middle_of_a_round(tmp_path: Path) -> None:
    """Two hospitals have trained round 2, and remember it, when the third kills everybody."""
    text = text_of(SCAFFOLD)
    undisturbed = run_over(*write_federation(tmp_path / "one", text), tmp_path / "one" / "run")
    study, folders = write_federation(tmp_path / "two", text)
    run, letters = tmp_path / "two" / "run", 0

    def stop(name: str, number: int) -> str:
        nonlocal letters
        broadcast = (run / "methods").rglob("00001.json")
        letters += name == "south" and bool(list(broadcast))
        if letters == 3:  # two looks at the model of round 1 come first
            raise KilledError
        return ""

    with pytest.raises(KilledError):
        run_over(study, folders, run, stop)  # type: ignore[arg-type]
    remembered = [
        len(list((folder / "memory").rglob("*.safetensors"))) for folder in folders.values()
    ]
    assert max(remembered) == 2
    disturbed = run_over(study, folders, run, resume=True)
    assert hashes(disturbed) == hashes(undisturbed)
    assert disturbed[0]["test"] == undisturbed[0]["test"]


@pytest.mark.slow
def test_a_damaged_checkpoint_goes_back_one_more(tmp_path: Path) -> None:
    text = text_of(SCAFFOLD)
    undisturbed = run_over(*write_federation(tmp_path / "one", text), tmp_path / "one" / "run")
    study, folders = write_federation(tmp_path / "two", text)
    run = tmp_path / "two" / "run"
    with pytest.raises(KilledError):
        run_over(study, folders, run, observer=killed_after(2))  # type: ignore[arg-type]
    (newest,) = run.rglob("00002.safetensors")
    newest.write_bytes(newest.read_bytes()[:-1])
    assert hashes(run_over(study, folders, run, resume=True)) == hashes(undisturbed)


@pytest.mark.slow
def test_an_update_that_comes_too_late_is_as_if_it_had_not_been_asked_for(tmp_path: Path) -> None:
    """South trains round 2 and its update is late; in the other run it fails before it trains.

    Letters to south before that of round 2: an introduction, four counts, round 1, two looks.
    """
    text = text_of(SCAFFOLD)
    results = {}
    for fault in ("late", "failed", ""):
        study, folders = write_federation(tmp_path / f"a{fault}", text)
        terms = Terms(deadline=0.8, quorum=2, retries=0, pause=0.01, grace=0.01)
        results[fault] = run_over(
            study,
            folders,
            tmp_path / f"a{fault}" / "run",
            lambda name, number, f=fault: f if (name, number) == ("south", 8) else "",  # type: ignore[misc]
            terms,
        )
    assert [list(r.get("left_out", {})) for r in results["late"][0]["history"]] == [
        [],
        ["south"],
        [],
    ]
    assert hashes(results["late"]) == hashes(results["failed"]) != hashes(results[""])


@pytest.mark.slow
def test_too_few_hospitals_end_the_run_and_it_goes_on_when_they_are_back(tmp_path: Path) -> None:
    text = text_of(SCAFFOLD)
    undisturbed = run_over(*write_federation(tmp_path / "one", text), tmp_path / "one" / "run")
    study, folders = write_federation(tmp_path / "two", text)
    run, terms = tmp_path / "two" / "run", Terms(deadline=30, quorum=3, retries=0, pause=0.01)
    with pytest.raises(FederationError) as caught:
        run_over(
            study,
            folders,
            run,
            lambda name, number: "unreachable" if name == "south" and number >= 9 else "",
            terms,
        )
    assert "south: unreachable" in str(caught.value)
    assert "east, north" in str(caught.value)
    assert hashes(run_over(study, folders, run, resume=True)) == hashes(undisturbed)


@pytest.mark.slow
def test_another_study_or_a_second_start_is_refused(tmp_path: Path) -> None:
    study, folders = write_federation(
        tmp_path, text_of(SCAFFOLD).replace("rounds = 3", "rounds = 1")
    )
    run_over(study, folders, tmp_path / "run")
    with pytest.raises(StudyError, match="holds a run already"):
        run_over(study, folders, tmp_path / "run")
    study.write_text(study.read_text(encoding="utf-8").replace("rounds = 1", "rounds = 2"))
    with pytest.raises(StudyError, match="another study"):
        run_over(study, folders, tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FederationError, match="unknown_study"):
        run_over(study, folders, tmp_path / "run")
