"""A benchmark of seconds: 200 exams of 5 features, 4 labels, 3 hospitals, written by the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from command import main
from definitions import Catalogue
from methods import Method
from rows import Row
from selection import Entry
from worlds import World

LABELS = ("Effusion", "Mass", "Hernia", "Nodule")
RATES = (0.1, 3.0)
PARTS = ("train", "validation", "test")


def write_data(path: Path, test_labels: str = "as they are") -> Path:
    """Labels follow a fixed linear rule with noise; two exams a patient.

    Who is where, and in which part, stands in the file, so labels do not change it.
    """
    rule = np.random.default_rng(1).normal(size=(5, 4))
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 5)).astype(np.float32)
    noise = generator.logistic(size=(200, 4))
    labels = (features @ rule + noise > 1).astype(np.int8)
    patient = np.arange(200) // 2
    part = np.array(PARTS)[np.repeat(generator.choice(3, size=100, p=[0.5, 0.2, 0.3]), 2)]
    hospital = np.array([f"hospital-{k}" for k in patient % 3])
    if test_labels == "reversed":
        labels[part == "test"] = 1 - labels[part == "test"]
    arrays = {"features": features, "labels": labels, "patient": patient}
    names = np.array(LABELS)
    np.savez(path, **arrays, label_names=names, part=part, hospital=hospital)  # type: ignore[arg-type]
    return path


def world(data: Path, name: str = "tiny", **changes: Any) -> World:
    source = {"name": "feature_table", "file": str(data), "covariates": ["part"]}
    study = {
        "title": name,
        "data": {"source": source},
        "split": {"partitioner": "by_hospital", "column": "part"},
        "network": {"architecture": "linear"},
        "training": {"rounds": 2, "batch_size": 16},
        "evaluation": {
            "min_positives": 1,
            "label_sets": [["Effusion", "Mass"]],
            "rare_labels": ["Hernia"],
        },
    }
    return replace(World(name, "features", f"{name}, 3 hospitals", study, RATES), **changes)


def with_tables(own: World, **tables: Any) -> World:
    """The world with more settings in some tables of its study."""
    study = {**own.study, **{k: {**own.study.get(k, {}), **v} for k, v in tables.items()}}
    return replace(own, study=study)


METHODS = {
    own.name: own
    for own in (
        Method("fedavg", "FedAvg", {"loss": "bce"}, heads=("none",)),
        Method("exact", "FedAvg, exact head", {"loss": "bce"}, heads=("none", "balanced_ridge")),
        Method(
            "fedprox",
            "FedProx",
            {"loss": "bce", "algorithm": "fedprox"},
            "algorithm.strength",
            (0.01, 10.0),
            ("none",),
        ),
        Method("local_only", "alone", {"trains": "hospitals"}, heads=("none", "newton")),
        Method("pooled", "pooled", {"trains": "pooled"}, heads=("none", "newton")),
        Method("by_label", "by label", {"loss": "bce"}, heads=("none",), one_label_at_a_time=True),
    )
}


def catalogue(own: World, *names: str) -> Catalogue:
    return Catalogue({own.name: own}, {name: METHODS[name] for name in names})


def run(found: Catalogue, out: Path, *arguments: str, seeds: int = 1) -> int:
    """The command, on all worlds and methods; in this process where not said otherwise."""
    grid = [Entry(name, ("*",), seeds) for name in found.worlds]
    argv = ["--out", str(out), "--workers", "1", *arguments]
    return main("tiny", argv, found, grid[:1], grid, written)


def written(found: Sequence[Row], out: Path) -> None:
    """What stands for tables and page: how many rows they are made of."""
    (out / "tables.txt").write_text(str(len(found)))


def rows(out: Path, name: str = "tiny") -> list[Row]:
    return [Row.of_json(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def lines(path: Path) -> list[dict[str, Any]]:
    """What a file of results says, but for how long it took."""
    found: Sequence[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: own for key, own in line.items() if key != "seconds"} for line in found]
