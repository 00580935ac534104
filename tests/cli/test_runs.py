"""A study from its file to its tables: run, resume, evaluate again, compare, split, extract."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.studies.assembly import with_absolute_paths
from concilium.studies.reading import read_study
from concilium.studies.run import run_study

from .conftest import LABELS, STUDY, Command, files_below, write_features, write_study


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, its features and its finished run."""
    folder = tmp_path_factory.mktemp("study")
    file = write_study(folder)
    study = with_absolute_paths(read_study(file), folder)
    text = file.read_text(encoding="utf-8")
    run_study(study, text, folder / "runs" / "tiny", folder / "cache", False, lambda *_: None)
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """The finished run, copied, so that a test can change it; its features stay where they are."""
    shutil.copytree(finished_once / "runs", tmp_path / "runs")
    return tmp_path / "runs" / "tiny"


def result(run: Path, method: str = "concilium", seed: int = 0) -> Any:
    path = run / "methods" / method / f"seed-{seed}-fold-0" / "result.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", ["concilium", "local_only", "fedavg"])
def test_evaluating_at_the_point_of_the_study_gives_the_result_of_the_run(
    concilium: Command, finished: Path, method: str
) -> None:
    said = concilium("evaluate", finished, "--method", method, "--seed", 1)
    assert said.code == 0, said.err
    written = json.loads(
        (finished / f"evaluation-{method}-seed-1-fold-0-specificity-0.9.json").read_text()
    )
    assert written["test"] == result(finished, method, 1)["test"]


def test_the_method_evaluated_by_default_is_concilium(concilium: Command, finished: Path) -> None:
    assert concilium("evaluate", finished).code == 0
    assert (finished / "evaluation-concilium-seed-0-fold-0-specificity-0.9.json").exists()


def test_without_concilium_the_first_method_is_evaluated(
    concilium: Command, finished: Path
) -> None:
    study = json.loads((finished / "study.json").read_text(encoding="utf-8"))
    study["methods"] = {name: study["methods"][name] for name in ("fedavg", "local_only")}
    (finished / "study.json").write_text(json.dumps(study), encoding="utf-8")
    said = concilium("evaluate", finished)
    assert said.code == 0, said.err
    assert (finished / "evaluation-fedavg-seed-0-fold-0-specificity-0.9.json").exists()


def test_evaluating_a_method_needs_no_loss_of_another_one(
    concilium: Command, finished: Path
) -> None:
    study = json.loads((finished / "study.json").read_text(encoding="utf-8"))
    study["methods"]["local_only"]["loss"] = {"name": "not_installed.loss"}
    (finished / "study.json").write_text(json.dumps(study), encoding="utf-8")
    assert concilium("evaluate", finished, "--method", "fedavg").code == 0
    refused = concilium("evaluate", finished, "--method", "local_only")
    assert refused.code == 2
    assert "cannot import 'not_installed.loss'" in refused.err


def test_a_lower_specificity_finds_more(concilium: Command, finished: Path) -> None:
    found = []
    for specificity in (0.95, 0.5):
        said = concilium("evaluate", finished, "--specificity", specificity)
        assert said.code == 0, said.err
        name = f"evaluation-concilium-seed-0-fold-0-specificity-{specificity:g}.json"
        test = json.loads((finished / name).read_text())["test"]
        found.append(test["metrics"]["sensitivity"])
        assert test["metrics"]["auroc"] == result(finished)["test"]["metrics"]["auroc"]
    strict, mild = np.array(found, np.float64)
    assert (mild >= strict).all()
    assert (mild > strict).any()


@pytest.mark.parametrize("method", ["concilium", "local_only"])
def test_exact_ranks_stand_beside_the_histograms_and_within_their_bounds(
    concilium: Command, finished: Path, method: str
) -> None:
    said = concilium("evaluate", finished, "--method", method, "--exact")
    assert said.code == 0, said.err
    assert "Histograms beside exact ranks" in said.out
    name = f"evaluation-{method}-seed-0-fold-0-specificity-0.9.json"
    test = json.loads((finished / name).read_text())["test"]
    exact = test.pop("exact")
    assert test == result(finished, method)["test"]  # nothing else changes
    for metric in ("auroc", "average_precision"):
        bins, ranks = (np.array(one["metrics"][metric], np.float64) for one in (test, exact))
        bound = np.array(test["bin_error"][metric]["labels"], np.float64)
        assert (np.abs(bins - ranks) <= bound + 1e-12).all()
        low, high = (np.array(exact["intervals"][metric][end]) for end in ("low", "high"))
        assert (low <= ranks).all() and (ranks <= high).all()
        assert f"{ranks[0]:.4f}" in said.out and f"{bound[0]:.4f}" in said.out


def test_without_exact_ranks_the_bound_of_their_difference_is_said(
    concilium: Command, finished: Path
) -> None:
    said = concilium("evaluate", finished)
    bound = result(finished)["test"]["bin_error"]["auroc"]["macro"]
    assert f"exact ranks differ by at most {bound:.4f}" in said.out
    assert "beside exact ranks" not in said.out


@pytest.mark.parametrize("option", [("--sensitivity", 0.85), ("--alerts-per-100", 20)])
def test_other_operating_points_are_named_in_table_and_file(
    concilium: Command, finished: Path, option: tuple[str, float]
) -> None:
    said = concilium("evaluate", finished, *option)
    assert said.code == 0, said.err
    assert all(label in said.out for label in LABELS)
    assert "as set on the validation exams" in said.out
    kind = option[0].removeprefix("--").replace("-", "_")
    assert (finished / f"evaluation-concilium-seed-0-fold-0-{kind}-{option[1]:g}.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "fedvg"), "has no method 'fedvg'; did you mean 'fedavg'?"),
        (("--seed", 7), "has no seed 7; known are: 0, 1"),
        (("--fold", 2), "has no fold 2; known are: 0"),
        (("--specificity", 1.0), "specificity=1 must be below 1"),
        (("--sensitivity", 85), "sensitivity=85 must be below 1; give it as a fraction, 0.85"),
        (("--specificity", 92.5), "specificity=92.5 must be below 1; give it as a fraction, 0.925"),
        (("--sensitivity", 0.0), "sensitivity=0.0 must be > 0"),
        (("--sensitivity", 0.9, "--specificity", 0.9), "exclude each other"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_nothing_written(
    concilium: Command, finished: Path, arguments: tuple[object, ...], said: str
) -> None:
    before = files_below(finished)
    shown = concilium("evaluate", finished, *arguments)
    assert shown.code == 2
    assert said in shown.err
    assert files_below(finished) == before


def test_a_job_that_is_not_finished_cannot_be_evaluated(concilium: Command, finished: Path) -> None:
    (finished / "methods" / "concilium" / "seed-1-fold-0" / "result.json").unlink()
    said = concilium("evaluate", finished, "--seed", 1)
    assert said.code == 2
    assert "concilium, seed 1, fold 0 is not finished; go on with" in said.err


def test_a_damaged_model_is_refused(concilium: Command, finished: Path) -> None:
    model = finished / "methods" / "concilium" / "seed-0-fold-0" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:40])
    said = concilium("evaluate", finished)
    assert said.code == 2
    assert "model.safetensors: is damaged" in said.err


def test_data_that_have_changed_since_the_run_are_refused(
    concilium: Command, finished: Path, tmp_path: Path
) -> None:
    # The run now names other features than those on which it was made: one number differs.
    write_features(tmp_path / "features.npz")
    values = dict(np.load(tmp_path / "features.npz"))
    values["features"][5, 2] += 1
    np.savez(tmp_path / "features.npz", **values)
    text = (finished / "study.json").read_text(encoding="utf-8")
    study = json.loads(text)
    study["data"]["source"]["file"] = str(tmp_path / "features.npz")
    (finished / "study.json").write_text(json.dumps(study), encoding="utf-8")
    said = concilium("evaluate", finished)
    assert said.code == 2
    assert "the data are no longer those on which this run was made" in said.err


def test_compare_shows_every_method_and_paired_differences(
    concilium: Command, finished: Path
) -> None:
    said = concilium("compare", finished, "--to", "fedavg")
    assert said.code == 0, said.err
    table, differences = said.out.split("Difference to fedavg")
    assert all(name in table for name in ("local_only", "fedavg", "concilium"))
    assert "mean ± standard deviation over 2 runs" in table
    first, second = (
        result(finished, "concilium", seed)["test"]["macro"]["auroc"]["mean"]
        - result(finished, "fedavg", seed)["test"]["macro"]["auroc"]["mean"]
        for seed in (0, 1)
    )
    assert f"{(first + second) / 2:+.3f}" in differences
    assert "\n fedavg" not in differences  # not to itself


def test_methods_of_several_runs_carry_the_name_of_their_run(
    concilium: Command, finished: Path
) -> None:
    shutil.copytree(finished, finished.parent / "again")
    said = concilium("compare", finished, finished.parent / "again", "--to", "again/fedavg")
    assert said.code == 0, said.err
    assert "tiny/concilium" in said.out
    assert "again/concilium" in said.out
    assert "other data" not in said.out


@pytest.mark.parametrize("command", ["compare", "report", "evaluate"])
def test_a_folder_that_is_no_run_is_refused(
    concilium: Command, tmp_path: Path, command: str
) -> None:
    (tmp_path / "other").mkdir()
    said = concilium(command, "other")
    assert said.code == 2
    assert "other: is not a run folder; give a folder that `concilium run` has written" in said.err
    assert not files_below(tmp_path / "other")


def test_the_report_of_an_unfinished_run_needs_one_finished_job(
    concilium: Command, finished: Path
) -> None:
    results = sorted(finished.glob("methods/*/*/result.json"))
    for path in results[1:]:
        path.unlink()
    said = concilium("report", finished)
    assert said.code == 0, said.err
    assert "5 of 6 jobs are not finished" in said.out
    results[0].unlink()
    (finished / "report.html").unlink()
    said = concilium("report", finished)
    assert said.code == 2
    assert "holds no finished job" in said.err
    assert not (finished / "report.html").exists()
    assert "once one of its jobs" in concilium("report", "--help").out


def test_an_unknown_reference_is_refused_with_a_suggestion(
    concilium: Command, finished: Path
) -> None:
    said = concilium("compare", finished, "--to", "fedvag")
    assert said.code == 2
    assert "there is no method 'fedvag'; did you mean 'fedavg'?" in said.err


def test_a_second_run_into_the_folder_is_refused_without_resume(
    concilium: Command, finished: Path, finished_once: Path
) -> None:
    before = {path: (finished / path).read_bytes() for path in files_below(finished)}
    said = concilium("run", finished_once / "tiny.toml", "--out", finished)
    assert said.code == 2
    assert "holds a run already; go on with --resume, or use another --out" in said.err
    assert {path: (finished / path).read_bytes() for path in files_below(finished)} == before


def test_another_study_cannot_resume_a_run(
    concilium: Command, finished: Path, tmp_path: Path
) -> None:
    other = write_study(tmp_path, STUDY.replace("rounds = 1", "rounds = 2"))
    said = concilium("run", other, "--out", finished, "--resume")
    assert said.code == 2
    assert "holds a run of another study" in said.err


def test_interrupted_before_there_is_a_run_folder_nothing_is_to_be_resumed(
    concilium: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("concilium.studies.assembly.load_data", interrupted)
    said = concilium("run", write_study(tmp_path), "--out", tmp_path / "run")
    assert (said.code, said.err) == (130, "concilium: stopped\n")
    assert not (tmp_path / "run").exists()


def test_interrupted_afterwards_it_is_said_how_to_go_on(
    concilium: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("concilium.studies.run.run_job", interrupted)
    said = concilium("run", write_study(tmp_path), "--out", tmp_path / "run")
    expected = "concilium: stopped; what is committed stays, go on with --resume\n"
    assert (said.code, said.err) == (130, expected)


@pytest.mark.parametrize(
    ("command", "unused", "used"),
    [
        ("inspect", ("linear", "iid", "bce"), ("feature_table",)),
        ("split", ("linear", "bce"), ("feature_table", "iid")),
        ("extract", ("bce",), ("feature_table", "iid", "linear")),
        ("run", (), ("feature_table", "iid", "linear", "bce")),
    ],
)
def test_a_command_is_stopped_by_the_choices_that_it_uses_alone(
    concilium: Command, tmp_path: Path, command: str, unused: tuple[str, ...], used: tuple[str, ...]
) -> None:
    text = STUDY.replace("[split]", '[split]\npartitioner = "iid"')
    text = text.replace("[methods.fedavg]", '[methods.fedavg]\nloss = "bce"')

    def said_without(names: tuple[str, ...]) -> str:
        without = text
        for name in names:
            without = without.replace(f'"{name}"', f'"not_installed.{name}"')
        study = write_study(tmp_path, without)
        rest = () if command == "inspect" else ("--out", tmp_path / "out")
        return concilium(command, study, *rest).err

    if unused:
        assert "not_installed" not in said_without(unused)
    said = said_without((*unused, *used))
    assert all(f"cannot import 'not_installed.{name}'" in said for name in used)
    assert not any(f"not_installed.{name}'" in said for name in unused)


def test_split_saves_every_division_with_its_proof(concilium: Command, tmp_path: Path) -> None:
    said = concilium("split", write_study(tmp_path), "--out", "parts")
    assert said.code == 0, said.err
    assert "Patients shared: train/validation 0, train/test 0, validation/test 0." in said.out
    assert "Images, patients, positives of each label: training / validation / test" in said.out
    assert all(label in said.out for label in LABELS)
    for seed in (0, 1):
        folder = tmp_path / "parts" / "splits" / f"seed-{seed}-fold-0"
        proof = json.loads((folder / "disjointness.json").read_text(encoding="utf-8"))
        assert set(proof["shared_patients"].values()) == {0}
        assert sum(proof["images"].values()) == 120
        saved = np.load(folder / "split.npz", allow_pickle=False)
        assert len(saved["part"]) == len(saved["client"]) == 120


def test_split_makes_the_divisions_of_the_run(
    concilium: Command, finished: Path, finished_once: Path, tmp_path: Path
) -> None:
    assert concilium("split", finished_once / "tiny.toml", "--out", "parts").code == 0
    for name in ("split.npz", "disjointness.json", "shifts.json"):
        made = tmp_path / "parts" / "splits" / "seed-1-fold-0" / name
        assert made.read_bytes() == (finished / "splits" / "seed-1-fold-0" / name).read_bytes()


PHANTOM = """
title = "Tiny phantom"
[data]
source = {name = "phantom", num_exams = 64, image_size = 32, enrichment = 1.0}
labels = ["Effusion", "Mass"]
uncertain = "positive"
[split]
hospitals = 2
[split.partitioner]
name = "partial_annotation"
labels_per_hospital = 1
[network]
architecture = {name = "small_cnn", width = 8, num_features = 8, depth = 1}
[methods.fedavg]
[evaluation]
min_positives = 3
"""


@pytest.mark.slow
def test_extracted_features_make_a_study_of_the_same_hospitals_parts_and_labels(
    concilium: Command, tmp_path: Path
) -> None:
    study = tmp_path / "phantom.toml"
    study.write_text(PHANTOM, encoding="utf-8")
    said = concilium("extract", study, "--out", "features")
    assert said.code == 0, said.err
    assert "is untrained" in said.out
    assert "  concilium: FedAvg weighted by what" in said.out
    assert "  pooled_exact: all exams in one place" in said.out
    assert "Only exact heads: on frozen features" in said.out
    assert "add [methods.NAME]" in said.out  # brackets are text, not style
    assert concilium("split", study, "--out", "original").code == 0
    assert concilium("split", "features/study.toml", "--out", "again").code == 0
    place = Path("splits") / "seed-0-fold-0"
    first, second = (
        json.loads((tmp_path / name / place / "disjointness.json").read_text(encoding="utf-8"))
        for name in ("original", "again")
    )
    for count in ("images", "patients", "shared_patients"):
        assert first[count] == second[count]
    files = sorted((tmp_path / "features").glob("*.npz"))
    assert [path.stem for path in files] == ["hospital-1", "hospital-2"]
    for path in files:
        arrays = np.load(path, allow_pickle=False)
        assert arrays["features"].dtype == np.float32
        assert (arrays["known"] == (arrays["labels"] >= 0)).all()
        # One of two labels is annotated here, except in the test part.
        own = arrays["part"] != "test"
        assert (arrays["labels"][own] == -2).any(0).sum() == 1
        assert not (arrays["labels"][~own] == -2).any()
        assert {name.split("/")[0] for name in arrays["patient"].tolist()} == {path.stem}


@pytest.mark.slow
def test_extracted_features_can_be_trained_on(concilium: Command, tmp_path: Path) -> None:
    study = tmp_path / "phantom.toml"
    study.write_text(
        PHANTOM[: PHANTOM.index("[split.partitioner]")] + PHANTOM[PHANTOM.index("[network]") :]
    )
    assert concilium("extract", study, "--out", "features").code == 0
    said = concilium("run", "features/study.toml", "--out", "run")
    assert said.code == 0, said.err
    # The exact head from sums is the pooled one.
    heads = [result(tmp_path / "run", name)["test"] for name in ("concilium", "pooled_exact")]
    assert heads[0]["metrics"]["auroc"] == pytest.approx(heads[1]["metrics"]["auroc"], abs=1e-4)


def test_features_are_not_mixed_with_those_of_another_extraction(
    concilium: Command, tmp_path: Path
) -> None:
    study = write_study(tmp_path)
    said = concilium("extract", study, "--out", tmp_path)
    assert said.code == 2
    assert "holds .npz files already" in said.err


def test_features_cannot_be_extracted_from_features(concilium: Command, tmp_path: Path) -> None:
    said = concilium("extract", write_study(tmp_path), "--out", "new")
    assert said.code == 2
    assert "the data are features already" in said.err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_run_writes_its_table_and_report_and_resume_changes_nothing(
    concilium: Command, tmp_path: Path
) -> None:
    file = write_study(tmp_path)
    first = concilium("run", file)
    assert first.code == 0, first.err
    assert "Report: runs/tiny/report.html" in first.out
    assert "synthetic" not in first.out.casefold()
    run = tmp_path / "runs" / "tiny"
    assert (run / "report.html").stat().st_size > 1000
    models = {path: (run / path).read_bytes() for path in files_below(run) if "model" in path}
    (run / "methods" / "concilium" / "seed-0-fold-0" / "result.json").unlink()
    again = concilium("run", file, "--resume")
    assert again.code == 0, again.err
    assert {
        path: (run / path).read_bytes() for path in files_below(run) if "model" in path
    } == models
    assert concilium("report", run).code == 0


@pytest.mark.slow
def test_synthetic_data_are_called_so(concilium: Command, tmp_path: Path) -> None:
    study = tmp_path / "phantom.toml"
    study.write_text(PHANTOM + "[training]\nrounds = 1\n", encoding="utf-8")
    said = concilium("run", study)
    assert said.code == 0, said.err
    assert "Synthetic images" in said.out


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    text = STUDY.replace("rounds = 1", "rounds = 100000").replace("seeds", "workers = 2\nseeds")
    program = "from concilium.cli.main import main; main()"
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", write_study(tmp_path, text), "--out", run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "CONCILIUM_CACHE": str(tmp_path / "cache")},
    )
    for _ in range(600):  # until both workers have committed a round
        if len(list(run.glob("methods/*/*/*/*/checkpoints"))) > 1 or process.poll() is not None:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    # Returns when nobody holds the pipes any more, so the workers have ended as well.
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "concilium: stopped; what is committed stays, go on with --resume\n"


@pytest.mark.slow
def test_brackets_in_a_title_and_a_method_are_text_not_markup(
    concilium: Command, tmp_path: Path
) -> None:
    """Square brackets are style to the terminal library: "[/x]" once ended a run in a traceback."""
    text = STUDY.replace("title = ", 'title = "[/x] and [bold]" # ')
    text = text.replace("[methods.fedavg]", '[methods."ours [/y]"]\nloss = "bce"')
    assert "[/y]" in text
    said = concilium("run", write_study(tmp_path, text), "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert "[/x] and [bold]" in said.out
    assert "ours [/y]" in said.out
    out = tmp_path / "parts"
    assert "[/x]" not in concilium("split", tmp_path / "tiny.toml", "--out", out).err
