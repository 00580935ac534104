"""One study, one seed: one model, whatever happens on the way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concilium.studies.assembly import with_absolute_paths
from concilium.studies.choice_checks import check
from concilium.studies.configuration import changes
from concilium.studies.reading import parse_study, read_study
from concilium.studies.run import run_study
from tests.worlds import exams

STUDY = """
title = "small"
seeds = [0]
[data]
source = {{name = "feature_table", file = "features.npz"}}
[split]
hospitals = 3
partitioner = {{name = "dirichlet", alpha = 1.0}}
[network]
architecture = "mlp"
[training]
rounds = {rounds}
participation = 0.7
learning_rates = [0.1]
[methods.concilium]
[methods.local_only]
[evaluation]
bootstrap = 20
min_positives = 2
label_sets = [["label-0", "label-1"]]
"""


def write_study(folder: Path, rounds: int, order: list[int] | None = None) -> Path:
    """A study file and its features; ``order`` permutes the labels."""
    order = order or [0, 1, 2]
    made = exams(240, 3, known=1.0)
    np.savez(
        folder / "features.npz",
        features=np.asarray(made.images),
        labels=made.target[:, order].astype(np.uint8),
        patient=made.patient // 2,
        label_names=np.array([f"label-{i}" for i in order]),
    )
    path = folder / "study.toml"
    path.write_text(STUDY.format(rounds=rounds))
    return path


def run(path: Path, out: Path, resume: bool = False) -> list[dict[str, Any]]:
    study = read_study(path)
    check(study, path.name)
    study = with_absolute_paths(study, path.parent)
    return run_study(study, path.read_text(), out, path.parent, resume, lambda job, event: None)


def essence(results: list[dict[str, Any]]) -> Any:
    """Results without the clock."""
    return [{key: value for key, value in result.items() if key != "seconds"} for result in results]


@pytest.mark.slow
def test_twice_the_same(tmp_path: Path) -> None:
    path = write_study(tmp_path, rounds=3)
    first, second = run(path, tmp_path / "a"), run(path, tmp_path / "b")
    assert essence(first) == essence(second)
    assert first[0]["model"] == second[0]["model"]


@pytest.mark.slow
def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    path = write_study(tmp_path, rounds=2)
    first = run(path, tmp_path / "a")
    path.write_text(path.read_text().replace("seeds = [0]", "seeds = [1]"))
    assert run(path, tmp_path / "b")[0]["model"] != first[0]["model"]


KILLED = """
import sys
from pathlib import Path
from tests.studies.test_same_numbers import run
if __name__ == "__main__":
    print("imported", flush=True)
    run(Path(sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


def start(path: Path, out: Path) -> subprocess.Popen[bytes]:
    """A process that runs the study, or goes on with it; it has imported what it needs."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(path), str(out)]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"imported\n"
    return process


def finished(process: subprocess.Popen[bytes], out: Path) -> Any:
    """What a run that was left alone has found."""
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return essence(json.loads((out / "results.json").read_text()))


@pytest.mark.slow
def test_killed_at_20_random_moments_and_resumed(tmp_path: Path) -> None:
    """SIGKILL at any moment of a run, 20 times; each resumed run ends with the same results."""
    path = write_study(tmp_path, rounds=60)
    begun = time.perf_counter()
    undisturbed = finished(start(path, tmp_path / "whole"), tmp_path / "whole")
    duration = time.perf_counter() - begun
    history = "methods/concilium/seed-0-fold-0/history.jsonl"
    moments, killed, completed = random.Random(0), 0, 0
    out = tmp_path / "killed-0"
    while killed < 20:
        process = start(path, out)
        time.sleep(moments.uniform(0, duration / 3))
        if process.poll() is None:
            process.kill()
            process.communicate()
            killed += 1
            continue
        assert finished(process, out) == undisturbed
        completed, out = completed + 1, tmp_path / f"killed-{killed}"
    assert finished(start(path, out), out) == undisturbed
    assert (out / history).read_text() == (tmp_path / "whole" / history).read_text()


@pytest.mark.slow
def test_resume_after_damage_of_the_newest_checkpoint(tmp_path: Path) -> None:
    path = write_study(tmp_path, rounds=6)
    undisturbed = essence(run(path, tmp_path / "whole"))
    out = tmp_path / "damaged"
    run(path, out)
    folder = out / "methods/concilium/seed-0-fold-0"
    result = (folder / "result.json").read_bytes()
    (folder / "result.json").write_bytes(result[: len(result) // 2])  # the job is done again
    newest = max(folder.glob("rate-*/model/checkpoints/*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-3] ^= 255
    newest.write_bytes(content)
    assert essence(run(path, out, resume=True)) == undisturbed


@pytest.mark.slow
def test_permuting_labels_permutes_results(tmp_path: Path) -> None:
    """With an exact head from frozen features nothing depends on the order of the labels."""
    order = [2, 0, 1]
    texts = []
    for name, labels in (("plain", [0, 1, 2]), ("permuted", order)):
        folder = tmp_path / name
        folder.mkdir()
        path = write_study(folder, 0, labels)
        text = path.read_text().replace('"mlp"', '"linear"').replace("[methods.local_only]", "")
        path.write_text(text.replace("hospitals = 3", 'hospitals = 3\ncolumn = ""'))
        texts.append(run(path, folder / "out"))
    plain, permuted = (results[0]["test"] for results in texts)
    for name, values in plain["metrics"].items():
        expected = [values[i] for i in order]
        assert permuted["metrics"][name] == pytest.approx(expected, nan_ok=True, abs=1e-9), name


@pytest.mark.slow
def test_a_method_and_a_seed_may_be_added_and_nothing_is_trained_again(tmp_path: Path) -> None:
    path = write_study(tmp_path, rounds=2)
    first = run(path, tmp_path / "out")
    text = path.read_text().replace("seeds = [0]", "seeds = [0, 1]")
    path.write_text(text.replace("[evaluation]", "[methods.fedavg]\n[evaluation]"))
    second = run(path, tmp_path / "out", resume=True)
    assert len(second) == 6
    assert [r for r in second if r in first] == first  # the clock included: they were not run again


def test_what_differs_between_two_studies_is_named() -> None:
    content: dict[str, Any] = {
        "title": "a",
        "data": {"source": "phantom"},
        "network": {"architecture": "small_cnn"},
        "methods": {"fedavg": {}},
    }
    before = parse_study(content, "a.toml")
    other = {
        **content,
        "title": "b",
        "seeds": [4],
        "network": {"architecture": {"name": "small_cnn", "width": 8}},
        "training": {"rounds": 3},
        "methods": {"fedavg": {"loss": "focal"}, "pooled": {}},
    }
    found = changes(before, parse_study(other, "b.toml"))
    assert found == ["methods.fedavg.loss.name", "network.architecture.width", "training.rounds"]
    assert changes(before, before) == []


def test_study_digest_ignores_title_and_workers_only() -> None:
    content = {
        "title": "a",
        "data": {"source": "phantom"},
        "network": {"architecture": "small_cnn"},
        "methods": {"fedavg": {}},
    }
    first = parse_study(content, "a.toml")
    assert first.digest() == parse_study({**content, "title": "b", "workers": 2}, "b.toml").digest()
    assert first.digest() != parse_study({**content, "seeds": [5]}, "c.toml").digest()
