"""Splits against iterative-stratification, and partitions of a large table into 100 hospitals.

    python benchmarks/partitioning.py

The table has 112,120 images and 14 labels: those of NIH ChestX-ray14 with its patients where
CONCILIUM_DATA (or ../shared/data) has them, else drawn at its prevalences. Two splits are timed as
whole calls, in turn with the public classes of iterative-stratification on the same images: train,
validation and test (theirs by two calls, as their users do), and five folds. Ours keep patients
whole; theirs know no patients, and how many end in two parts is printed. Balance is the largest
relative deviation of any label's prevalence in any part from that of the table. Ratios and balance
are medians over turns, each of another seed, and with them their spread or worst. Below, for
information only: theirs with one row a patient, which keeps patients whole as ours do, and their
inner function with all three shares at once. Then the seconds of every partitioner for 100
hospitals, and of all else that is made before the first round. Exit code 1 for a median ratio below
50, a balance worse than theirs in the worst seed, a partitioner over 2 s, or a torn patient.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from iterstrat.ml_stratifiers import (
    IterativeStratification,
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)

from concilium.data.dataset import Dataset
from concilium.data.patients import Patients
from concilium.data.shifts import describe_shifts
from concilium.data.splits import PARTS, Split, disjointness, folds_by_patient, split_by_patient
from concilium.data.table import ExamTable, patient_codes
from concilium.foundation import components
from concilium.foundation.seeds import numpy_generator
from concilium.labels.statistics import LabelStatistics
from concilium.labels.uncertainty import UncertaintyPolicy
from concilium.labels.vocabularies import vocabulary
from concilium.partitioners.contract import Partition
from concilium.studies.division import divide, save_division
from concilium.studies.hospitals import parts_of
from concilium.studies.reading import parse_study

NUM_IMAGES, NUM_PATIENTS, NUM_HOSPITALS, NUM_FOLDS = 112_120, 30_805, 100, 5
SHARES = (0.7, 0.1, 0.2)
TURNS, DEMANDED_RATIO, MOST_SECONDS, ROUNDING = 5, 50, 2.0, 1e-12
CALLS = 20  # of ours in a turn, whose mean counts: one is over before a neighbour's turn ends
# Positives of the 112,120 images in alphabetical order of the findings, Atelectasis to Pneumothorax
POSITIVES = (
    *(11559, 2776, 4667, 2303, 13317, 2516, 1686, 227, 19894, 5782, 6331, 3385, 1431, 5302),
)
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = "labels/Data_Entry_2017_v2020.csv.gz"
SETTINGS: dict[str, dict[str, Any]] = {
    "coupling_skew": {"pairs": [["Effusion", "Atelectasis"], ["Mass", "Nodule"]]},
    "specialist": {
        "specialists": [
            {"labels": ["Hernia"], "hospital": 3},
            {"labels": ["Edema", "Pneumonia"], "hospital": 4, "share": 0.002},
        ],
        "of": {"name": "dirichlet", "alpha": 0.3},
    },
}

Part = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
Dealer = Callable[[int], Part]  # from a seed to the part of each image


def the_table() -> tuple[ExamTable, str]:
    """Labels and patients; every patient belongs to one of 100 drawn hospitals."""
    table = Path(os.environ.get("CONCILIUM_DATA", FOLDER)) / TABLE
    schema = vocabulary("nih")
    names = sorted(schema.names)
    generator = numpy_generator(0, "table")
    if table.is_file():
        rows = pd.read_csv(table, usecols=["Finding Labels", "Patient ID"])
        present = rows["Finding Labels"].str.get_dummies("|")[names].to_numpy() > 0
        patient, source = patient_codes(rows["Patient ID"].to_numpy()), "real NIH labels"
    else:
        present = generator.random((NUM_IMAGES, len(names))) < np.array(POSITIVES) / NUM_IMAGES
        patient = patient_codes(generator.integers(NUM_PATIENTS, size=NUM_IMAGES))
        source = "labels drawn at NIH prevalences"
    order = [names.index(name) for name in schema.names]
    states = np.ascontiguousarray(present[:, order], np.int8)  # as our sources make it
    sites = np.array([f"site-{k + 1}" for k in range(NUM_HOSPITALS)])
    hospital = sites[generator.integers(NUM_HOSPITALS, size=patient.max() + 1)][patient]
    return ExamTable(schema, states, patient, {"hospital": hospital}), source


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def timed(work: Callable[[], object]) -> float:
    return median(seconds(work) for _ in range(TURNS))


# Their splits


def their_parts(present: Bools, seed: int) -> Part:
    """Test by a first call, validation of the rest by a second."""
    part = np.zeros(len(present), np.intp)
    rows = np.arange(len(present))
    for number, share in ((2, SHARES[2]), (1, SHARES[1] / (1 - SHARES[2]))):
        one = MultilabelStratifiedShuffleSplit(1, test_size=share, random_state=seed)
        left, taken = next(one.split(rows[:, None], present[rows].astype(int)))
        part[rows[taken]] = number
        rows = rows[left]
    return part


def their_folds(present: Bools, seed: int) -> Part:
    fold = np.zeros(len(present), np.intp)
    folds = MultilabelStratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(folds.split(fold[:, None], present.astype(int))):
        fold[test] = number
    return fold


def their_inner_function(present: Bools, seed: int) -> Part:
    state = np.random.RandomState(seed)
    part: Part = IterativeStratification(present, np.array(SHARES), state)
    return part


# Ours beside theirs


class Quality(NamedTuple):
    deviation: float  # largest, relative, of a label's prevalence in a part
    torn: int  # patients with images in two parts or more


def quality(part: Part, table: ExamTable) -> Quality:
    present = table.states == 1
    parts = [present[part == k].mean(0) for k in range(part.max() + 1)]
    pairs = np.unique(table.patient * (part.max() + 1) + part)
    torn = np.count_nonzero(np.bincount(pairs // (part.max() + 1)) > 1)
    return Quality(float(np.abs(np.array(parts) / present.mean(0) - 1).max()), int(torn))


def beside(name: str, ours: Dealer, theirs: Dealer, table: ExamTable) -> tuple[float, bool]:
    """Print how much faster we are and how well both balance; the ratio, and are we no worse?"""
    ours(0)  # once, so that neither pays for what is loaded at first use
    times, found = [], []
    for seed in range(TURNS):
        parts: list[Part] = []
        theirs_took = seconds(lambda seed=seed, parts=parts: parts.append(theirs(seed)))  # type: ignore[misc]
        ours_took = seconds(
            lambda seed=seed, parts=parts: parts.extend(ours(seed) for _ in range(CALLS))  # type: ignore[misc]
        )
        times.append((theirs_took, ours_took / CALLS))
        found.append([quality(part, table) for part in parts[:2]])
    ratios = [a / b for a, b in times]
    deviations = [[own[side].deviation for own in found] for side in (0, 1)]
    usual, worst = [median(own) for own in deviations], [max(own) for own in deviations]
    torn = [max(own[side].torn for own in found) for side in (0, 1)]
    print(
        f"  {name}: {median(b for _, b in times) * 1000:.0f} ms against "
        f"{median(a for a, _ in times) * 1000:.0f} ms, {median(ratios):.0f} times faster "
        f"({min(ratios):.0f} to {max(ratios):.0f});\n"
        f"    largest deviation of a prevalence {usual[1]:.2%} against {usual[0]:.2%}, "
        f"in the worst of {TURNS} seeds {worst[1]:.2%} against {worst[0]:.2%};\n"
        f"    patients in two parts {torn[1]:,} against {torn[0]:,}"
    )
    return median(ratios), worst[1] <= worst[0] + ROUNDING and torn[1] == 0


def splits(table: ExamTable) -> bool:
    """Print both splits; are they as fast as demanded, and as even as theirs?"""
    present = table.states == 1
    patients = Patients.of(table)
    by_patient = patients.positives > 0

    def split(seed: int) -> Part:
        return split_by_patient(table, SHARES, seed).part

    def folds(seed: int) -> Part:
        return folds_by_patient(table, NUM_FOLDS, seed)

    print(f"Splits, ours against iterative-stratification (demanded: {DEMANDED_RATIO} times)")
    pairs: dict[str, tuple[Dealer, Dealer]] = {
        "train, validation, test": (split, lambda seed: their_parts(present, seed)),
        f"{NUM_FOLDS} folds": (folds, lambda seed: their_folds(present, seed)),
    }
    results = [beside(name, *pair, table) for name, pair in pairs.items()]
    print("For information: against one row a patient, and against the inner function")
    of_row = patients.of_row
    beside("patients, parts", split, lambda seed: their_parts(by_patient, seed)[of_row], table)
    beside("patients, folds", folds, lambda seed: their_folds(by_patient, seed)[of_row], table)
    beside("inner function", split, lambda seed: their_inner_function(present, seed), table)
    return all(ratio >= DEMANDED_RATIO and no_worse for ratio, no_worse in results)


# Hospitals


def is_whole(partition: Partition, table: ExamTable) -> bool:
    hospital = np.full(table.patient.max() + 1, -1)
    hospital[table.patient] = partition.client
    return bool((hospital[table.patient] == partition.client).all())


def partitions(table: ExamTable) -> bool:
    """Print the seconds of every partitioner; are they few enough, and all patients whole?"""
    print(f"Partitions into {NUM_HOSPITALS} hospitals (demanded: at most {MOST_SECONDS:g} s)")
    passed = True
    for name in components.names("partitioners"):
        partitioner = components.build("partitioners", name, SETTINGS.get(name))
        found = partitioner(table, NUM_HOSPITALS, 0)
        own = timed(lambda partitioner=partitioner: partitioner(table, NUM_HOSPITALS, 0))  # type: ignore[misc]
        images = np.bincount(found.client, minlength=NUM_HOSPITALS)
        print(f"  {name}: {own:.3f} s, {images.min()} to {images.max():,} images")
        passed = passed and own <= MOST_SECONDS and is_whole(found, table)
    return passed


def all_else(table: ExamTable) -> None:
    """Print the seconds of what else is made of a table before the first round."""
    dataset = Dataset(table, np.zeros((len(table), 1), np.float32), "features")
    study = parse_study(
        {
            "title": "hospitals",
            "data": {"source": "phantom"},
            "network": {"architecture": "mlp"},
            "methods": {"fedavg": {}},
            "split": {"hospitals": NUM_HOSPITALS, "fractions": list(SHARES)},
        },
        "hospitals.toml",
    )
    division = divide(dataset, study, 0)
    parts = parts_of(dataset, division, UncertaintyPolicy())
    random = Split(numpy_generator(0, "parts").integers(len(PARTS), size=len(table)).astype("i1"))

    def save() -> None:
        with tempfile.TemporaryDirectory() as folder:
            save_division(Path(folder), dataset, division)

    print(f"What else is made of it, for {NUM_HOSPITALS} hospitals")
    steps: dict[str, Callable[[], object]] = {
        "proof that parts share no patient": lambda: disjointness(division.split, table),
        "the same where all parts share patients": lambda: disjointness(random, table),
        "divide: split, proof, partition": lambda: divide(dataset, study, 0),
        "what shifted between hospitals": lambda: describe_shifts(table, division.partition),
        "save_division: shifts and files": save,
        "parts_of: exams by hospital and part": lambda: parts_of(
            dataset, division, UncertaintyPolicy()
        ),
        "label statistics of the training parts": lambda: [
            LabelStatistics.of(own["train"].target, own["train"].known, own["train"].patient)
            for own in parts.values()
        ],
    }
    for name, step in steps.items():
        print(f"  {name}: {timed(step):.3f} s")


def main() -> int:
    table, source = the_table()
    num_images, num_labels = table.states.shape
    num_patients = len(np.unique(table.patient))
    print(f"{num_images:,} images × {num_labels} labels, {num_patients:,} patients, {source}")
    passed = [splits(table), partitions(table)]
    all_else(table)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
