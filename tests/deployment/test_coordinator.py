"""What a coordinator's run folder says, and whom it asks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from concilium.deployment.allowed import allow, federation_digest, read_federated
from concilium.deployment.ledger import Ledger
from concilium.foundation.errors import DataError, FederationError, StudyError
from concilium.foundation.files import locked
from concilium.orchestration.accounts import Account
from concilium.orchestration.carriers import Terms
from concilium.orchestration.observers import Event, Warned
from concilium.reports.page import write_report
from concilium.studies.bench import Job
from concilium.studies.reevaluation import evaluate_again
from concilium.studies.run import jobs_of_run, run_study, study_of
from tests.deployment.worlds import STUDY, run_over, silent, write_features, write_federation

QUICK = STUDY.replace("rounds = 3", "rounds = 1").replace("bootstrap = 4", "bootstrap = 0")
FEDAVG = '[methods.own]\nalgorithm = "fedavg"\n'


@pytest.mark.slow
def test_a_run_folder_that_reports_and_accounts_for_everybody(tmp_path: Path) -> None:
    """South fails once in the round, and answers again after it."""
    study, folders = write_federation(
        tmp_path, QUICK + FEDAVG + "[methods.pooled]\n[methods.local_only]\n"
    )
    run, told = tmp_path / "run", []

    def observe(job: Job, event: Event) -> None:
        told.append(event)

    terms = Terms(deadline=30, quorum=2, retries=0, pause=0.01)
    results = run_over(
        study,
        folders,
        run,
        lambda name, number: "failed" if (name, number) == ("south", 5) else "",
        terms,
        observer=observe,
    )
    assert [own["method"] for own in results] == ["own"]
    warned = sorted(event.text for event in told if isinstance(event, Warned))
    assert [line.split(" ")[0] for line in warned] == ["local_only", "pooled"]
    assert results[0]["history"][0]["left_out"].keys() == {"south"}

    own = json.loads((run / "federation.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (run / "exchanges.jsonl").read_text().splitlines()]
    assert own["exchanges"] == len(lines)
    assert own["methods_left_out"].keys() == {"local_only", "pooled"}
    assert [job.method for job in jobs_of_run(run, study_of(run))] == ["own"]  # nothing is missing
    assert own["terms"]["quorum"] == 2
    assert own["hospitals"]["east"] == {"answered": len(lines), "left_out": {}, "last_reason": ""}
    south = own["hospitals"]["south"]
    assert (south["answered"], south["left_out"]) == (len(lines) - 1, {"failed": 1})
    for line in lines:  # everybody who was asked, once
        assert sorted([*line["answered"], *line["left_out"]]) == ["east", "north", "south"]

    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    assert (data["images"], data["patients"], data["labels"]) == (
        144,
        144,
        ["Effusion", "Mass", "Hernia"],
    )
    page = write_report(run).read_text(encoding="utf-8")
    assert "Every hospital divides its own patients" in page
    with pytest.raises(DataError, match="hospitals elsewhere"):
        evaluate_again(run, Job("own", 3), tmp_path / "cache", None)
    with pytest.raises(DataError, match="hospitals elsewhere"):
        run_study(study_of(run), "", run, tmp_path / "cache", True, silent)


def test_inputs_that_differ_are_named(tmp_path: Path) -> None:
    study, folders = write_federation(tmp_path, QUICK + FEDAVG, ("east", "north"))
    write_features(folders["north"] / "features.npz", 2, features=np.ones((48, 5), np.float32))
    with pytest.raises(FederationError, match=r"inputs of hospitals differ") as caught:
        run_over(study, folders, tmp_path / "run")
    assert "north: (5,)" in str(caught.value)


def test_one_whose_inputs_differ_from_most_does_not_end_the_run(tmp_path: Path) -> None:
    study, folders = write_federation(tmp_path, QUICK + FEDAVG)
    write_features(folders["north"] / "features.npz", 2, features=np.ones((48, 5), np.float32))
    (result,) = run_over(study, folders, tmp_path / "run")
    first = Ledger.of(tmp_path / "run", federation_digest(study_of(tmp_path / "run"))).accounts()[0]
    assert first["left_out"]["north"].startswith("other_data: an input there has the shape (5,)")
    assert first["answered"] == ["east", "south"]
    assert list(result["history"][0]["left_out"]) == ["north"]


def test_too_few_at_the_beginning_says_who_and_why(tmp_path: Path) -> None:
    study, folders = write_federation(tmp_path, QUICK + FEDAVG)
    for name in ("east", "north"):
        next((folders[name] / "studies").iterdir()).unlink()
    with pytest.raises(FederationError) as caught:
        run_over(study, folders, tmp_path / "run")
    said = str(caught.value)
    assert "east: unknown_study" in said
    assert "north: unknown_study" in said
    assert "answered: south" in said
    own = json.loads((tmp_path / "run" / "federation.json").read_text(encoding="utf-8"))
    assert own["hospitals"].keys() == {"east", "north", "south"}


def test_a_study_without_a_federated_method_is_refused(tmp_path: Path) -> None:
    study, folders = write_federation(tmp_path, QUICK + FEDAVG)
    study.write_text(QUICK + "[methods.pooled]\n", encoding="utf-8")
    with pytest.raises(StudyError, match="no method trains over a federation"):
        allow(study, folders["east"])


def test_a_ledger_survives_a_line_that_was_cut(tmp_path: Path) -> None:
    ledger = Ledger.of(tmp_path, "digest")
    left = {"b": "silent: nothing came within 3 s"}
    ledger.note(Account(1, "Broadcast", ("a",), left, (), 10, 20, 0.5))
    ledger.close(Terms(), ("a", "b"))
    with (tmp_path / "exchanges.jsonl").open("a") as file:
        file.write('{"number": 2, "ki')
    again = Ledger.of(tmp_path, "digest")
    assert again.id == ledger.id
    again.note(Account(3, "Broadcast", ("a", "b"), {}, (), 10, 20, 0.5))
    again.close(Terms(), ("a", "b", "c"))
    own = json.loads((tmp_path / "federation.json").read_text(encoding="utf-8"))
    assert own["hospitals"] == {
        "a": {"answered": 2, "left_out": {}, "last_reason": ""},
        "b": {"answered": 1, "left_out": {"silent": 1}, "last_reason": left["b"]},
        "c": {"answered": 0, "left_out": {}, "last_reason": ""},
    }
    with pytest.raises(StudyError, match="another study"):
        Ledger.of(tmp_path, "another")


def test_a_second_coordinator_does_not_replace_the_run_of_the_first(tmp_path: Path) -> None:
    first, second = Ledger.of(tmp_path, "digest"), Ledger.of(tmp_path, "digest")
    first.close(Terms(), ("a",))
    before = (tmp_path / "federation.json").read_bytes()
    with pytest.raises(StudyError, match="another run of this study"):
        second.close(Terms(), ("a", "b"))
    assert (tmp_path / "federation.json").read_bytes() == before


@pytest.mark.parametrize("resume", [True, False])
def test_nothing_is_touched_in_a_folder_that_another_holds(tmp_path: Path, resume: bool) -> None:
    """The cut line is one that the other coordinator is writing at this moment."""
    study, folders = write_federation(tmp_path, QUICK + FEDAVG, ("east",))
    run = tmp_path / "run"
    with locked(run, StudyError("held")):
        Ledger.of(run, federation_digest(read_federated(study))).close(Terms(), ("east",))
        (run / "exchanges.jsonl").write_text('{"number": 2, "ki', encoding="utf-8")
        before = {path.name: path.read_bytes() for path in run.iterdir()}
        with pytest.raises(StudyError, match="another process"):
            run_over(study, folders, run, resume=resume)
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before
