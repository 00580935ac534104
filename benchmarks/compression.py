"""What compressing updates costs in quality, and saves in bytes.

    python benchmarks/compression.py

Five hospitals of 300 phantoms each (64 px), whose findings differ, train small_cnn (287,000
parameters) by FedAvg with Adam, one local epoch a round: without compression, with bfloat16, and
with the top 10 %, the top 1 %, and the top 1 % without error feedback. Three seeds (phantoms,
network, order), the same for all, so that differences to no compression are taken seed by seed.
Printed are mAP and macro-AUROC on the hospitals' validation parts after 24 rounds (mean and
standard deviation over seeds), the difference of AUROC after 12 rounds and after 24, and what a
hospital sends in a round. Two processes share the work.

Exits with 1 where bfloat16 loses more than 0.01 of AUROC in the mean, or where the top 1 % is not
better with error feedback than without. What the top 10 % and 1 % lose is printed, not judged.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch

from concilium.algorithms.fedavg import FedAvg
from concilium.compressions.bfloat16 import BFloat16
from concilium.compressions.contract import Compression
from concilium.compressions.top_k import TopK
from concilium.data.dataset import Exams
from concilium.evaluation.averages import macro
from concilium.federation.client import Client
from concilium.federation.requests import EvaluationRequest
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.uncertainty import UncertaintyPolicy, resolve
from concilium.losses.bce import BinaryCrossEntropy
from concilium.metrics.auroc import Auroc
from concilium.metrics.average_precision import AveragePrecision
from concilium.networks.small_cnn import SmallCNN
from concilium.orchestration.checkpoints import Progress
from concilium.orchestration.observers import Record, silent
from concilium.orchestration.phases import asking
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.runtimes.in_process import InProcess
from concilium.sources.phantom import Phantom
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages

HOSPITALS, EXAMS, VALIDATION, SIDE, ROUNDS = 5, 300, 160, 64, 24
TRAINING = LocalTraining(1, 32, OptimizerSettings("adam", 0.001))
SEEDS = 0, 1, 2
METHODS: dict[str, Compression | None] = {
    "none": None,
    "bfloat16": BFloat16(),
    "top 10 %": TopK(0.1),
    "top 1 %": TopK(0.01),
    "top 1 %, no feedback": TopK(0.01, error_feedback=False),
}
METRICS = AveragePrecision(), Auroc()
MOST_LOST = 0.01


@cache
def hospitals(seed: int) -> dict[str, dict[str, Exams]]:
    """Exams sorted by their findings but for noise, so that hospitals differ, then dealt out."""
    num = HOSPITALS * (EXAMS + VALIDATION)
    data = Phantom(num, SIDE, enrichment=0.25, seed=seed).load(Path("unused"))
    target, known = resolve(data.table.states, UncertaintyPolicy())
    generator = np.random.default_rng(seed)
    ranks = target @ generator.normal(size=target.shape[1]) + generator.normal(size=num)
    found = {}
    for k, sorted_rows in enumerate(np.array_split(np.argsort(ranks), HOSPITALS)):
        rows = generator.permutation(sorted_rows)
        parts = {"train": rows[:EXAMS], "validation": rows[EXAMS:]}
        found[f"hospital-{k}"] = {
            part: Exams(data.images[own], target[own], known[own], data.table.patient[own])
            for part, own in parts.items()
        }
    return found


def quality(method: str, seed: int) -> tuple[float, ...]:
    """mAP and AUROC of the last round, AUROC of half as many, bytes up a hospital and round."""
    torch.set_num_threads(1)
    parts = hospitals(seed)
    num_labels = next(iter(parts.values()))["train"].target.shape[1]
    network = SmallCNN().build((1, SIDE, SIDE), num_labels, seed)
    clients = tuple(
        Client(name, own, network, BinaryCrossEntropy(), TRAINING, seed)
        for name, own in parts.items()
    )
    algorithm = FedAvg()
    runtime = InProcess().over(clients, algorithm, ByImages(), METHODS[method])

    def look(model: NamedTensors) -> Record:
        sums = asking(runtime)(EvaluationRequest(model, "validation"))
        means = [macro(m(sums), sums.statistics, min_positives=1).mean for m in METRICS]
        return {"quality": means}

    start = Progress(ServerState(0, travelling(network), len(clients)))
    schedule = Schedule(ROUNDS, evaluate_every=ROUNDS // 2)
    history = run_rounds(start, schedule, algorithm, runtime, look, None, silent).history
    sent = sum(int(record["bytes_up"]) for record in history)
    half, last = (history[r - 1]["quality"] for r in (ROUNDS // 2, ROUNDS))
    return (*last, half[1], sent / ROUNDS / len(clients))


def main() -> int:
    jobs = [(method, seed) for seed in SEEDS for method in METHODS]
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(jobs, pool.map(quality, *zip(*jobs, strict=True)), strict=True))
    values = {m: np.array([found[m, seed] for seed in SEEDS]) for m in METHODS}
    none = values["none"]
    print(f"validation of {HOSPITALS} hospitals, seeds {SEEDS}, mean ± standard deviation")
    print(
        f"{'':21} {'mAP':13} {'AUROC':13} {f'AUROC, round {ROUNDS // 2}':17} "
        f"{f'AUROC, round {ROUNDS}':17} kB up, hospital and round"
    )
    for method, own in values.items():
        mean, spread = own.mean(0), own.std(0, ddof=1)
        less = own - none
        half, last = (
            f"{less[:, i].mean():+.4f} ± {less[:, i].std(ddof=1):.4f}" if less.any() else "-"
            for i in (2, 1)
        )
        print(
            f"{method:21} {mean[0]:.3f} ± {spread[0]:.3f} {mean[1]:.3f} ± {spread[1]:.3f} "
            f"{half:17} {last:17} {mean[3] / 1e3:7.1f} ({mean[3] / none[0, 3]:.1%})"
        )
    auroc = {method: own[:, 1].mean() for method, own in values.items()}
    lost = auroc["none"] - auroc["bfloat16"]
    gained = auroc["top 1 %"] - auroc["top 1 %, no feedback"]
    print(f"bfloat16 loses {lost:.4f} of AUROC (target at most {MOST_LOST})")
    print(f"error feedback gains {gained:.4f} of AUROC at the top 1 % (target above 0)")
    return int(lost > MOST_LOST or gained <= 0)


if __name__ == "__main__":
    sys.exit(main())
