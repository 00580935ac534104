"""Evaluation with patient-bootstrap intervals against the plain scikit-learn loop.

    python benchmarks/evaluation.py

112,120 exams × 14 labels, as many as NIH ChestX-ray14 has: AUROC and average precision of each
label, and 95 % intervals from 1,000 bootstraps over patients. Labels and patients are those of the
NIH table where CONCILIUM_DATA (or ../shared/data) has it, else drawn at its prevalences; scores are
drawn. The loop of scikit-learn is timed on a few replicates and extrapolated to 1,000, which is
said in the output. Everything is measured in one run; exit code 1 below a ratio of 20.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from concilium.evaluation.bootstrap import PatientHistograms, interval
from concilium.evaluation.histograms import Floats
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.seeds import derive_seed, numpy_generator
from concilium.metrics.auroc import Auroc, area_under_roc
from concilium.metrics.average_precision import AveragePrecision, mean_precision

NUM_EXAMS, NUM_PATIENTS, NUM_REPLICATES, TIMED_REPLICATES = 112_120, 30_805, 1000, 5
DEMANDED_RATIO = 20
# Positives of the 112,120 images in alphabetical order of the findings, Atelectasis to Pneumothorax
POSITIVES = (
    *(11559, 2776, 4667, 2303, 13317, 2516, 1686, 227, 19894, 5782, 6331, 3385, 1431, 5302),
)
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = "labels/Data_Entry_2017_v2020.csv.gz"

Bools = npt.NDArray[np.bool_]
Patients = npt.NDArray[np.int64]


def labels_and_patients() -> tuple[Bools, Patients, str]:
    table = Path(os.environ.get("CONCILIUM_DATA", FOLDER)) / TABLE
    if table.is_file():
        rows = pd.read_csv(table, usecols=["Finding Labels", "Patient ID"])
        findings = rows["Finding Labels"].str.get_dummies("|").drop(columns="No Finding")
        return findings.to_numpy() > 0, rows["Patient ID"].to_numpy(), "real NIH labels"
    rng = numpy_generator(0, "labels")
    prevalence = np.array(POSITIVES) / NUM_EXAMS
    patient = rng.integers(NUM_PATIENTS, size=NUM_EXAMS)
    return rng.random((NUM_EXAMS, 14)) < prevalence, patient, "labels drawn at NIH prevalences"


def drawn_scores(target: Bools) -> Floats:
    """Scores of AUROC about .80, centred at each label's log-odds."""
    prevalence = target.mean(0)
    noise = numpy_generator(0, "scores").normal(size=target.shape)
    scores: Floats = np.log(prevalence / (1 - prevalence)) - 0.6 + 1.2 * target + noise
    return scores


def ours(scores: Floats, target: Bools, patient: Patients) -> tuple[Floats, Floats]:
    """AUROC and average precision (2, L), and the ends of their intervals (2, 2, L)."""
    known = np.ones_like(target)
    sums = EvaluationSums.of(scores, target, known, patient)
    histograms = PatientHistograms.of(scores, target, known, patient)
    ends = []
    blocks = histograms.blocks(NUM_REPLICATES, derive_seed(0, "bootstrap"))
    values = [
        (area_under_roc(one.positives, one.negatives), mean_precision(one.positives, one.negatives))
        for one in blocks
    ]
    for replicates in zip(*values, strict=True):
        low, high, _ = interval(np.concatenate(replicates))
        ends.append((low, high))
    return np.stack([Auroc()(sums), AveragePrecision()(sums)]), np.array(ends)


def scikit_learn(scores: Floats, target: Bools) -> Floats:
    """The same two values of each label (2, L), from exact ranks."""
    labels = range(target.shape[1])
    return np.array(
        [
            [metric(target[:, label], scores[:, label]) for label in labels]
            for metric in (roc_auc_score, average_precision_score)
        ]
    )


def resamples(patient: Patients) -> Iterator[npt.NDArray[np.intp]]:
    """Rows of the exams of as many patients as there are, drawn with replacement."""
    order = np.argsort(patient, kind="stable")
    numbers, first = np.unique(patient[order], return_index=True)
    rows = np.split(order, first[1:])
    rng = numpy_generator(0, "scikit-learn loop")
    while True:
        yield np.concatenate([rows[i] for i in rng.integers(len(numbers), size=len(numbers))])


def main() -> int:
    target, patient, source = labels_and_patients()
    scores = drawn_scores(target)
    print(f"{len(scores):,} exams × {target.shape[1]} labels, {source}, drawn scores,")
    print(f"{len(np.unique(patient)):,} patients, {NUM_REPLICATES:,} bootstraps over patients")
    start = perf_counter()
    values, ends = ours(scores, target, patient)
    own = perf_counter() - start
    start = perf_counter()
    exact = scikit_learn(scores, target)
    point = perf_counter() - start
    rows = resamples(patient)
    start = perf_counter()
    for _ in range(TIMED_REPLICATES):
        drawn = next(rows)
        scikit_learn(scores[drawn], target[drawn])
    replicate = (perf_counter() - start) / TIMED_REPLICATES
    loop = point + NUM_REPLICATES * replicate
    error = np.abs(values - exact).max(1)
    inside = ((ends[:, 0] <= exact) & (exact <= ends[:, 1])).all()
    print(f"concilium, measured:           {own:8.1f} s")
    print(f"scikit-learn loop, EXTRAPOLATED {loop:7.1f} s from {TIMED_REPLICATES} replicates")
    print(f"  (point values {point:.2f} s + {NUM_REPLICATES:,} × {replicate:.2f} s a replicate)")
    print(f"ratio: {loop / own:.0f} times faster (demanded: {DEMANDED_RATIO})")
    print(f"largest difference to exact ranks: AUROC {error[0]:.5f}, AP {error[1]:.5f}")
    print(f"every exact value lies in its interval: {'yes' if inside else 'NO'}")
    return 0 if loop / own >= DEMANDED_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
