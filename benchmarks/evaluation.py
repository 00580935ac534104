"""Evaluation with patient-bootstrap intervals against the plain scikit-learn loop.

    python benchmarks/evaluation.py

AUROC and average precision of each of 14 labels, and 95 % intervals from 1,000 bootstraps over
patients, in two settings: 112,120 exams in one place, as many as NIH ChestX-ray14 has; and the test
parts of a study, 20 hospitals of 200 exams, whose replicates are drawn by each hospital and added
up. Two paths of ours: histograms (which add up over hospitals; their error and its bound are
printed) and exact ranks (for exams in one place; equal to scikit-learn to 1e-12, of a replicate as
well). Labels and patients are those of the NIH table where CONCILIUM_DATA (or ../shared/data) has
it, else drawn at its prevalences; scores are drawn. The loop of scikit-learn is timed on a few
replicates and extrapolated to 1,000, which is said in the output; a path of ours is timed in full.
All are timed in turn, three times; ratios are medians with their spread. Exit code 1 below a ratio
of 20, for a value of exact ranks that differs, or one of histograms outside its bounds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from concilium.evaluation.bootstrap import (
    PatientHistograms,
    blocks_of,
    interval,
    patient_weights,
    replicate_sums,
)
from concilium.evaluation.exact_ranks import ExactRanks
from concilium.evaluation.histograms import Floats, ties
from concilium.evaluation.sums import EvaluationSums
from concilium.federation.messages import total
from concilium.foundation.seeds import derive_seed, numpy_generator
from concilium.metrics.auroc import area_under_roc
from concilium.metrics.average_precision import mean_precision, mean_precision_bounds

NUM_EXAMS, NUM_PATIENTS, NUM_REPLICATES = 112_120, 30_805, 1000
NUM_HOSPITALS, EXAMS_A_HOSPITAL = 20, 200
TURNS, DEMANDED_RATIO, ROUNDING = 3, 20, 1e-12
SEED = derive_seed(0, "bootstrap")
CURVES = area_under_roc, mean_precision
SCIKIT_LEARN = roc_auc_score, average_precision_score
# Positives of the 112,120 images in alphabetical order of the findings, Atelectasis to Pneumothorax
POSITIVES = (
    *(11559, 2776, 4667, 2303, 13317, 2516, 1686, 227, 19894, 5782, 6331, 3385, 1431, 5302),
)
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = "labels/Data_Entry_2017_v2020.csv.gz"

Bools = npt.NDArray[np.bool_]
Patients = npt.NDArray[np.int64]


class Exams(NamedTuple):
    scores: Floats
    target: Bools
    known: Bools
    patient: Patients

    def take(self, rows: npt.NDArray[np.intp]) -> Exams:
        return Exams(*(part[rows] for part in self))


Path_ = Callable[[Exams], Floats]


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


def ends(replicates: Floats) -> Floats:
    """Intervals (2, 2, L): low and high of both measures, of replicates (2, R, L)."""
    return np.array([interval(own)[:2] for own in replicates])


def by_histograms(exams: Exams) -> Floats:
    blocks = PatientHistograms.of(*exams).blocks(NUM_REPLICATES, SEED)
    values = [[curve(*own) for curve in CURVES] for own in (one.histograms() for one in blocks)]
    return ends(np.concatenate(values, axis=1))


def by_hospitals(exams: Exams) -> Floats:
    """Histograms that each hospital draws by itself, and that add up."""
    names = [str(number) for number in range(NUM_HOSPITALS)]
    hospitals = np.array_split(np.arange(len(exams.scores)), NUM_HOSPITALS)
    replies = (
        (name, replicate_sums(*exams.take(rows), NUM_REPLICATES, derive_seed(SEED, name)))
        for name, rows in zip(names, hospitals, strict=True)
    )
    sums = total(replies, names)
    return ends(np.stack([sums.values(curve) for curve in CURVES]))


def by_exact_ranks(exams: Exams) -> Floats:
    ranks = ExactRanks.of(*exams)
    blocks = blocks_of(NUM_REPLICATES)
    weights = (patient_weights(ranks.num_patients, block, SEED) for block in blocks)
    return ends(np.concatenate([ranks.values(own, CURVES) for own in weights], axis=1))


def scikit_learn(exams: Exams, weights: Floats | None = None) -> Floats:
    """Both values of each label (2, L), from exact ranks."""
    labels = range(exams.target.shape[1])
    return np.array(
        [
            [
                metric(exams.target[:, label], exams.scores[:, label], sample_weight=weights)
                for label in labels
            ]
            for metric in SCIKIT_LEARN
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


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def speed(exams: Exams, paths: dict[str, Path_], timed_replicates: int) -> bool:
    """Print the ratio of each path; are all as high as demanded?"""
    rows = resamples(exams.patient)
    times: dict[str, list[float]] = {name: [] for name in paths}
    loops = []
    for _ in range(TURNS):
        for name, path in paths.items():
            times[name].append(seconds(lambda path=path: path(exams)))  # type: ignore[misc]
        drawn = [exams.take(next(rows)) for _ in range(timed_replicates)]
        own = seconds(lambda drawn=drawn: [scikit_learn(one) for one in drawn])  # type: ignore[misc]
        loops.append(own / timed_replicates * NUM_REPLICATES)
    print(
        f"  scikit-learn loop: {median(loops):.1f} s, EXTRAPOLATED from {timed_replicates} of "
        f"{NUM_REPLICATES:,} replicates, without drawing them"
    )
    enough = True
    for name, own in times.items():
        ratios = [loop / one for loop, one in zip(loops, own, strict=True)]
        enough = enough and median(ratios) >= DEMANDED_RATIO
        print(
            f"  {name}: {median(own):.2f} s, measured; {median(ratios):.0f} times faster "
            f"({min(ratios):.0f} to {max(ratios):.0f}; demanded: {DEMANDED_RATIO})"
        )
    return enough


def exactness(exams: Exams) -> bool:
    """Print how far exact ranks are from scikit-learn, of the exams and of a replicate."""
    ranks = ExactRanks.of(*exams)
    weights = patient_weights(ranks.num_patients, range(1), SEED)
    of_exams = weights[np.unique(exams.patient, return_inverse=True)[1], 0]
    point = np.abs(ranks.point(CURVES) - scikit_learn(exams)).max()
    replicate = np.abs(ranks.values(weights, CURVES)[:, 0] - scikit_learn(exams, of_exams)).max()
    print(
        f"  exact ranks differ from scikit-learn by {point:.1e}, in a replicate by "
        f"{replicate:.1e} (demanded: {ROUNDING:.0e})"
    )
    return bool(max(point, replicate) <= ROUNDING)


def error_of_bins(exams: Exams) -> bool:
    """Print the largest errors of histograms and their bounds; do the bounds hold?"""
    sums = EvaluationSums.of(*exams)
    auroc, precision = ExactRanks.of(*exams).point(CURVES)
    bins = np.stack([curve(sums.positives, sums.negatives) for curve in CURVES])
    half = ties(sums.positives, sums.negatives)
    low, high = mean_precision_bounds(sums.positives, sums.negatives)
    error = np.abs(bins - [auroc, precision]).max(1)
    print(
        f"  histograms err by at most {error[0]:.5f} in AUROC (bound ± {half.max():.5f}) and "
        f"{error[1]:.5f} in AP (bounds -{(bins[1] - low).max():.5f}, +{(high - bins[1]).max():.5f})"
    )
    holds = (np.abs(bins[0] - auroc) <= half) & (low <= precision) & (precision <= high)
    return bool(holds.all())


def main() -> int:
    target, patient, source = labels_and_patients()
    exams = Exams(drawn_scores(target), target, np.ones_like(target), patient)
    print(f"{len(target):,} exams × {target.shape[1]} labels, {source}, drawn scores,")
    print(f"  {len(np.unique(patient)):,} patients, {NUM_REPLICATES:,} bootstraps over patients")
    paths: dict[str, Path_] = {"histograms": by_histograms, "exact ranks": by_exact_ranks}
    passed = [speed(exams, paths, 3), exactness(exams), error_of_bins(exams)]
    order = np.argsort(patient, kind="stable")[: NUM_HOSPITALS * EXAMS_A_HOSPITAL]
    exams = exams.take(order)
    print(f"{NUM_HOSPITALS} hospitals of {EXAMS_A_HOSPITAL} of these exams")
    paths = {"histograms, added up": by_hospitals, "exact ranks": by_exact_ranks}
    passed += [speed(exams, paths, 20), exactness(exams), error_of_bins(exams)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
