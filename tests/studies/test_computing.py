"""How a study is computed: by whom, in which precision, added up and sent in which form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from concilium.data.dataset import Dataset, Exams, Form
from concilium.data.table import ExamTable
from concilium.federation import running_total
from concilium.foundation.errors import InputError, StudyError
from concilium.labels.schema import LabelSchema
from concilium.orchestration.observers import silent
from concilium.runtimes.processes import Forked
from concilium.studies import assembly, choice_checks
from concilium.studies.bench import Bench, Job
from concilium.studies.configuration import Study, changes
from concilium.studies.reading import parse_study
from tests.studies.test_same_numbers import essence, run, write_study

EXACT = ("in_process", "processes", {"name": "parallel", "workers": 2})


def study(workers: int = 1, **training: Any) -> Study:
    content = {
        "title": "small",
        "workers": workers,
        "data": {"source": "phantom"},
        "network": {"architecture": "linear"},
        "methods": {"fedavg": {}},
        "training": training,
    }
    return parse_study(content, "small.toml")


def test_the_cores_are_shared_by_the_jobs_that_run_side_by_side() -> None:
    many = {"seeds": (0, 1, 2)}
    assert study().cores_of_a_job(16) == 16
    assert study(workers=2).model_copy(update=many).cores_of_a_job(16) == 8
    assert study(workers=1000).model_copy(update=many).cores_of_a_job(16) == 5  # of three jobs
    assert study(workers=1000).cores_of_a_job(16) == 16  # one job has them all
    assert study(workers=3).model_copy(update=many).cores_of_a_job(2) == 1


@pytest.mark.parametrize("runtime", EXACT)
def test_a_runtime_that_changes_no_result_changes_no_study(runtime: Any) -> None:
    other = study(runtime=runtime)
    assert other.digest() == study().digest()
    assert changes(study(), other) == []


def test_what_may_change_a_result_changes_the_study() -> None:
    for settings in ({"runtime": "stacked"}, {"precision": "bfloat16"}, {"sum": "fixed_point"}):
        assert study(**settings).digest() != study().digest()
        assert changes(study(), study(**settings)) == [f"training.{next(iter(settings))}"]


def test_precision_and_sum_reach_training_and_rounds() -> None:
    own = study(precision="bfloat16", sum="fixed_point")
    assert assembly.training_of(own, 0.1).precision == "bfloat16"
    table = ExamTable(LabelSchema(("a",), {}), np.ones((4, 1), np.int8), np.arange(4), {})
    network = assembly.network_of(own, Form(table.schema, (3,)), 0)
    method = assembly.method_of("fedavg", own.methods["fedavg"])
    recipe = assembly.recipe_of(own, method, table.schema, network, 0)
    assert recipe.schedule.arithmetic == "fixed_point"
    assert assembly.computing_of(own)["precision"] == "bfloat16"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_mistake_of_the_study() -> None:
    with pytest.raises(StudyError, match=r'no GPU that can be used; set device = "auto"'):
        choice_checks.check(study(device="cuda"), "small.toml")


def test_a_wrong_runtime_or_compression_is_a_mistake_of_the_study() -> None:
    with pytest.raises(StudyError, match=r"there is no 'paralel'.*did you mean 'parallel'"):
        choice_checks.check(study(runtime="paralel"), "small.toml")
    settings = study().methods["fedavg"].model_copy(update={"compression": None})
    assert assembly.method_of("fedavg", settings).compression is None
    content = {"compression": {"name": "top_k", "fraction": 2.0}}
    wrong = settings.model_validate(content)
    with pytest.raises(StudyError, match=r"fraction=2.0"):
        assembly.method_of("fedavg", wrong)


def result(tmp_path: Path, lines: str, name: str) -> dict[str, Any]:
    """The result of FedAvg in the small study with more lines in [training]."""
    (tmp_path / name).mkdir()
    path = write_study(tmp_path / name, rounds=2)
    text = path.read_text().replace("bootstrap = 20", "bootstrap = 0")
    text = text.replace("concilium]", "fedavg]").replace("[methods.local_only]", "")
    before, after = text.split("[training]")
    path.write_text(f"{before}[training]\n{lines}{after}")
    (found,) = run(path, tmp_path / name / "out")
    return found


@pytest.mark.slow
def test_the_manifest_says_device_precision_and_runtime(tmp_path: Path) -> None:
    found = result(tmp_path, 'precision = "bfloat16"\nruntime = "in_process"\n', "one")
    manifest = json.loads((tmp_path / "one/out/manifest.json").read_bytes())["environment"]
    said = {key: manifest[key] for key in ("device", "precision", "runtime")}
    assert said == {"device": "cpu", "precision": "bfloat16", "runtime": "in_process"}
    full = result(tmp_path, 'runtime = "in_process"\n', "full")
    assert found["model"] != full["model"]
    assert found["validation_score"] == pytest.approx(full["validation_score"], abs=0.05)


@pytest.mark.slow
def test_threads_and_fixed_point_give_the_results_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = result(tmp_path, 'runtime = "in_process"\n', "alone")
    threads = result(tmp_path, 'runtime = {name = "parallel", workers = 2}\n', "threads")
    assert threads.pop("environment")["runtime"] == "parallel"
    assert alone.pop("environment")["runtime"] == "in_process"
    np.testing.assert_equal(essence([threads]), essence([alone]))
    seen: list[str] = []
    monkeypatch.setattr(running_total, "one_of", lambda _, sum: seen.append(sum))
    fixed = result(tmp_path, 'sum = "fixed_point"\n', "fixed")
    assert set(seen) == {"fixed_point"}
    assert fixed["validation_score"] == pytest.approx(alone["validation_score"], abs=1e-4)


@pytest.mark.slow
def test_a_method_s_updates_are_compressed_where_they_travel(tmp_path: Path) -> None:
    def sent(compression: str, trains: str = "federation") -> dict[str, Any]:
        lines = "" if compression == "none" else f'compression = "{compression}"\n'
        name = f"{compression}-{trains}"
        (tmp_path / name).mkdir()
        path = write_study(tmp_path / name, rounds=1)
        text = path.read_text().replace("bootstrap = 20", "bootstrap = 0")
        text = text.replace("[methods.local_only]", "")
        text = text.replace("[methods.concilium]", f'[methods.mine]\ntrains = "{trains}"\n{lines}')
        path.write_text(text)
        (found,) = run(path, tmp_path / name / "out")
        return found

    plain, half = sent("none"), sent("bfloat16")
    assert 0.5 <= half["bytes_up"] / plain["bytes_up"] < 0.51
    assert half["bytes_down"] == plain["bytes_down"]
    assert half["model"] != plain["model"]
    assert sent("top_k")["bytes_up"] / plain["bytes_up"] < 0.25
    assert sent("top_k", "pooled")["model"] == sent("none", "pooled")["model"]


@pytest.mark.parametrize(("cores", "workers", "idle"), [(1, 1, False), (2, 1, True), (2, 2, False)])
def test_an_idle_core_prepares_batches(
    cores: int, workers: int, idle: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One hospital trains at a time; jobs side by side take a core each."""
    monkeypatch.setattr("concilium.studies.bench.num_cores", lambda: cores)
    table = ExamTable(LabelSchema(("a",), {}), np.ones((4, 1), np.int8), np.arange(4), {})
    dataset = Dataset(table, np.zeros((4, 3), np.float32), "four")
    own = study(workers=workers).model_copy(update={"seeds": (0, 1)})
    part = Exams(dataset.images, np.ones((4, 1), np.float32), np.ones((4, 1), bool), np.arange(4))
    parts = {"alone": {"train": part}}
    bench = Bench.of(own, Job("fedavg", 0), dataset.form, parts, tmp_path, silent)
    (client,) = bench.runtime(parts, 0.1).members
    assert client.training.spare_core == idle


def test_a_job_s_hospitals_have_the_cores_of_the_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = study(workers=2, runtime="processes").model_copy(update={"seeds": (0, 1)})
    table = ExamTable(LabelSchema(("a",), {}), np.ones((4, 1), np.int8), np.arange(4), {})
    dataset = Dataset(table, np.zeros((4, 3), np.float32), "four")
    part = Exams(dataset.images, np.ones((4, 1), np.float32), np.ones((4, 1), bool), np.arange(4))
    parts = {f"hospital-{k}": {"train": part} for k in range(9)}
    bench = Bench.of(own, Job("fedavg", 0), dataset.form, parts, tmp_path, silent)
    for cores, workers in ((8, 4), (4, 2)):
        monkeypatch.setattr("concilium.studies.bench.num_cores", lambda cores=cores: cores)
        crew = bench.runtime(parts, 0.1).crew
        assert isinstance(crew, Forked)
        assert crew._workers == workers


def test_a_runtime_that_cannot_run_such_data_leaves_no_folder_behind(tmp_path: Path) -> None:
    """The remedy, another runtime, can then be followed without another folder."""
    path = tmp_path / "study.toml"
    path.write_text(IMAGES.format(runtime="stacked"))
    with pytest.raises(InputError, match=r'features only.*set runtime = "parallel"'):
        run(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


IMAGES = """
title = "images"
[data]
source = {{name = "phantom", num_exams = 200, image_size = 32}}
[network]
architecture = "small_cnn"
[training]
rounds = 0
runtime = "{runtime}"
[methods.fedavg]
"""
