"""Hospitals in folders of their own, with frozen features that train in no time, and a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from concilium.deployment.allowed import allow, read_federated
from concilium.deployment.coordinator import run_federation
from concilium.deployment.loopback import Interference, Loopback, undisturbed
from concilium.deployment.site import Site
from concilium.orchestration.carriers import Terms
from concilium.studies.configuration import Study
from concilium.studies.run import JobObserver

LABELS = ("Effusion", "Mass", "Hernia")
NAMES = ("east", "north", "south")
PATIENTS = 48
"""Of a hospital: with the fractions of the study 24, 12 and 12 of a part, above the floor of 10."""

STUDY = """
title = "Three hospitals"
seeds = [3]

[data]
source = "phantom"   # of a simulation; hospitals have their own
labels = ["Effusion", "Mass", "Hernia"]

[split]
fractions = [0.5, 0.25, 0.25]

[network]
architecture = {name = "mlp", hidden = [4]}

[training]
rounds = 3
learning_rates = [0.1]
batch_size = 8

[evaluation]
label_sets = [["Effusion", "Mass"]]
min_positives = 1
bootstrap = 4
"""

METHODS = """
[methods.newton]
head = "newton"
"""


def write_features(path: Path, seed: int, patients: int = PATIENTS, **changed: object) -> None:
    """An archive of features of one hospital: one exam a patient, labels by one linear rule."""
    rule = np.random.default_rng(1234).normal(size=(4, len(LABELS)))
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(patients, 4)).astype(np.float32)
    noise = generator.logistic(size=(patients, len(LABELS)))
    arrays = {
        "features": features,
        "labels": (2 * features @ rule + noise > [0.0, 0.3, 0.6]).astype(np.int8),
        "label_names": np.array(LABELS),
        "patient": np.array([f"MRN-{seed}-{row}" for row in range(patients)]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{**arrays, **changed})  # type: ignore[arg-type]


def write_hospital(folder: Path, name: str, seed: int, more: str = "", **changed: Any) -> Path:
    """A hospital's folder with its data and its file."""
    write_features(folder / "features.npz", seed, **changed)
    text = f'name = "{name}"\n[data]\nsource = {{name = "feature_table", file = "features.npz"}}\n'
    (folder / "hospital.toml").write_text(text + more, encoding="utf-8")
    return folder


def write_federation(
    base: Path, text: str = STUDY + METHODS, names: Sequence[str] = NAMES
) -> tuple[Path, dict[str, Path]]:
    """A study file, and the folders of hospitals that allow it."""
    study = base / "study.toml"
    base.mkdir(parents=True, exist_ok=True)
    study.write_text(text, encoding="utf-8")
    folders = {
        name: write_hospital(base / name, name, seed) for seed, name in enumerate(names, start=1)
    }
    for folder in folders.values():
        allow(study, folder)
    return study, folders


def silent(*_: object) -> None:
    """Observe nothing."""


def run_over(
    study: Path,
    folders: dict[str, Path],
    run: Path,
    interference: Interference = undisturbed,
    terms: Terms | None = None,
    resume: bool = False,
    observer: JobObserver = silent,
) -> list[dict[str, Any]]:
    """Run a study over new sites of these folders."""
    terms = terms or Terms(deadline=30, quorum=2, pause=0.01)
    sites = {name: Site(folder) for name, folder in folders.items()}
    with Loopback(sites, interference) as carrier:
        own, text = read_federated(study), study.read_text(encoding="utf-8")
        return run_federation(own, text, run, carrier, terms, resume, observer)


def hashes(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The model's hash after every round, of each result."""
    return [[record["model"] for record in result["history"]] for result in results]


def study_of(path: Path) -> Study:
    """The study of a file, as a federation reads it."""
    return read_federated(path)
