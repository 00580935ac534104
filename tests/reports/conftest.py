"""A small finished run folder, made by the code that a run uses, from drawn scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from concilium.data.acquisition import Acquisition
from concilium.data.dataset import Dataset
from concilium.data.splits import check_disjoint, disjointness, split_by_patient
from concilium.data.table import ExamTable
from concilium.evaluation.bootstrap import replicate_sums
from concilium.evaluation.calibration import fit_calibration
from concilium.evaluation.decoupling import Decoupled, DecoupledSums, LabelSetCounts
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.messages import total
from concilium.foundation.files import plain, write_json
from concilium.labels.frequency_groups import frequency_groups
from concilium.labels.schema import LabelSchema
from concilium.orchestration.checkpoints import environment
from concilium.orchestration.phases import Assessment, Operation
from concilium.partitioners.contract import Partition
from concilium.reports.charts import canvas
from concilium.studies.configuration import Study
from concilium.studies.division import Division, save_division
from concilium.studies.reading import parse_study
from concilium.studies.results import describe

HOSTILE = '<img src="http://evil.example/x.png" onerror=alert(1)> & $x$'
LABELS = ("Effusion", "Edema", "Mass", "Hernia", HOSTILE)
PREVALENCE = np.array([0.4, 0.3, 0.15, 0.04, 0.2])
HOSPITALS = ("a", "b", "c")
SETS = ((2, 3),)
METHODS = {  # name: (who trains, how far positives score above negatives)
    "local_only": ("hospitals", 0.6),
    "fedavg": ("federation", 1.0),
    "concilium": ("federation", 1.6),
    "pooled": ("pooled", 1.7),
}
STUDY: dict[str, Any] = {
    "title": "A small <study>",
    "seeds": [0, 1],
    "data": {"source": {"name": "phantom", "num_exams": 600}},
    "split": {"hospitals": 3},
    "network": {"architecture": "small_cnn"},
    "training": {"rounds": 3},
    "methods": {name: {} for name in METHODS},
    "evaluation": {
        "label_sets": [["Mass", "Hernia"]],
        "rare_labels": ["Hernia"],
        "bootstrap": 20,
    },
}


def exams(rng: np.random.Generator, count: int) -> tuple[npt.NDArray[np.float32], Any]:
    """Targets (N, L) and patients (N,), two images each; the first exams have Mass and Hernia."""
    target = (rng.random((count, len(LABELS))) < PREVALENCE).astype(np.float32)
    target[:3, 2:4] = 1
    return target, np.arange(count) // 2


def described(seed: int, lift: float, hospitals: tuple[str, ...], bootstrap: bool) -> Any:
    """A description of test exams whose scores separate by ``lift``."""
    rng = np.random.default_rng(seed)
    by_client, drawn, thresholds = {}, None, None
    raw, entries = {}, []
    for place, name in enumerate(hospitals):
        target, patient = exams(rng, 80)
        known = np.ones(target.shape, np.bool_)
        scores = rng.normal(size=target.shape) + lift * target - 1
        scores[:, 3] -= 1
        sums = EvaluationSums.of(scores, target, known, patient)
        thresholds = at_specificity(sums, 0.9) if thresholds is None else thresholds
        by_client[name] = EvaluationSums.of(scores, target, known, patient, thresholds, SETS)
        raw[name] = EvaluationSums.of(3 * scores, target, known, patient)
        entries.append((scores, target, known))
        if bootstrap:
            own = replicate_sums(scores, target, known, patient, 20, place)
            drawn = own if drawn is None else drawn + own
    whole = total(by_client.items(), tuple(by_client))
    operation = Operation(fit_calibration(whole), thresholds)
    assert thresholds is not None
    counts = LabelSetCounts.of(*(np.concatenate([own[i] for own in entries]) for i in (1, 2)))
    weights = counts.weights()
    weighed = [DecoupledSums.of(*own, weights, thresholds) for own in entries]
    assessment = Assessment(
        by_client,
        drawn,
        total(raw.items(), tuple(raw)),
        Decoupled(counts, weights, sum(weighed[1:], weighed[0])),
    )
    return describe(assessment, operation, LABELS, frequency_groups(whole.statistics), 10)


def history(trains: str, lift: float) -> list[dict[str, Any]]:
    if trains == "hospitals":
        return []
    return [
        {
            "round": place,
            "cohort": list(HOSPITALS),
            "loss": 1 / place,
            "bytes_up": 1000,
            "bytes_down": 1000,
            "validation_score": 0.1 * lift * place,
            "validation_auroc": 0.5 + 0.1 * place,
            "label_sets_present": [9],
            "label_sets_found": [place],
            "model": "f" * 64,
        }
        for place in (1, 2, 3)
    ]


def result(study: Study, method: str, seed: int) -> dict[str, Any]:
    """A job's result in the form of ``studies.job.run_job``."""
    trains, lift = METHODS[method]
    head = method == "concilium"
    solved = {
        "penalty": 10.0,
        "held_out_loss": [9.0, 8.0, 7.5, 7.0, 6.8, 7.1, 7.4],  # from λ = 1000 to 1
        "exchanges": 21.0,
        "kept_rows": 0.0,
    }
    account = {
        "model": f"{seed}{method}".ljust(64, "0"),
        "kept_round": 3,
        "validation_score": 0.4,
        "learning_rates": {"0.1": 0.4},
        "consolidation": solved if head else None,
        "bytes_up": 3000,
        "bytes_down": 3000,
        "history": history(trains, lift),
    }
    models = {"models": [account] * len(HOSPITALS)} if trains == "hospitals" else {}
    return {
        "method": method,
        "seed": seed,
        "fold": 0,
        "trains": trains,
        "settings": study.methods[method].model_dump(mode="json"),
        "parameters": 12345,
        **account,
        **models,
        "test": described(seed, lift, HOSPITALS, True),
        "before_consolidation": described(seed, lift - 0.4, HOSPITALS, False) if head else None,
        "seconds": 12.5,
    }


def write_division(folder: Path, study: Study, seed: int) -> None:
    """Only hospital c has Hernia, 4 exams of it, and b does not annotate Mass."""
    rng = np.random.default_rng(seed)
    target, patient = exams(rng, 600)
    client = patient % 3
    target[:, 3] = 0
    target[np.flatnonzero(client == 2)[:4], 3] = 1
    table = ExamTable(LabelSchema(LABELS, {}), target.astype(np.int8), patient)
    annotated = np.ones((3, len(LABELS)), np.bool_)
    annotated[1, 2] = False
    split = split_by_patient(table, (0.7, 0.1, 0.2), seed)
    check_disjoint(split, table)
    habits = {name: Acquisition(contrast=1 + 0.1 * k) for k, name in enumerate(HOSPITALS)}
    partition = Partition(HOSPITALS, client.astype(np.int64), annotated, habits)
    dataset = Dataset(table, np.zeros((600, 2, 2), np.uint8), "drawn scores", True)
    division = Division(seed, split, partition, disjointness(split, table))
    save_division(folder / f"seed-{seed}-fold-0", dataset, division)


@pytest.fixture(scope="session", autouse=True)
def fonts() -> None:
    """Let matplotlib read its fonts once, so that no test has to wait for it."""
    canvas(1, 1).subplots().figure.draw_without_rendering()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four methods and two seeds at three hospitals."""
    folder = tmp_path_factory.mktemp("run")
    study = parse_study(STUDY, "small.toml")
    results = [plain(result(study, method, seed)) for seed in study.seeds for method in METHODS]
    (folder / "study.toml").write_text('title = "A small <study>"\n')
    (folder / "study.json").write_text(study.model_dump_json())
    write_json(folder / "manifest.json", {"study": study.digest(), "environment": environment()})
    write_json(
        folder / "data.json",
        {
            "title": "drawn scores",
            "synthetic": True,
            "images": 600,
            "patients": 300,
            "input_shape": [1, 2, 2],
            "labels": list(LABELS),
            "label_policy": "Uncertain labels are ignored; unknown labels are ignored.",
            "notes": {"source": "a random generator"},
        },
    )
    write_json(folder / "results.json", results)
    for seed in study.seeds:
        write_division(folder / "splits", study, seed)
    return folder


@pytest.fixture(scope="session")
def results(run: Path) -> list[dict[str, Any]]:
    """Its results."""
    return list(json.loads((run / "results.json").read_text()))
