"""What compressing updates costs in quality, and saves in bytes.

    python benchmarks/compression.py

Five hospitals of 400 phantoms each (64 px, small_cnn of 287,000 parameters, Adam, 12 rounds of one
local epoch), of which each has its own findings in other proportions, train by FedAvg: without
compression, with bfloat16, and with the top 10 %, the top 1 %, and the top 1 % without error
feedback. Three seeds (phantoms, network, order) each; the same seeds for all, so differences to no
compression are taken seed by seed. Printed are validation mAP and macro-AUROC of the last round
(mean, and the standard deviation over seeds), the mean difference with its spread, and what a
hospital sends in a round.

Exits with 1 where bfloat16 or the top 10 % loses more than 0.01 of AUROC in the mean, or where the
top 1 % is not better with error feedback than without.
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
from concilium.labels.uncertainty import UncertaintyPolicy, resolve
from concilium.losses.bce import BinaryCrossEntropy
from concilium.metrics.auroc import Auroc
from concilium.metrics.average_precision import AveragePrecision
from concilium.networks.small_cnn import SmallCNN
from concilium.orchestration.observers import silent
from concilium.orchestration.phases import asking
from concilium.orchestration.rounds import Schedule, run_rounds
from concilium.orchestration.checkpoints import Progress
from concilium.runtimes.in_process import InProcess
from concilium.sources.phantom import Phantom
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings
from concilium.weightings.by_images import ByImages

HOSPITALS, EXAMS, VALIDATION, SIDE, ROUNDS = 5, 400, 160, 64, 12
TRAINING = LocalTraining(1, 32, OptimizerSettings("adam", 0.001))
SEEDS = 0, 1, 2
METHODS: dict[str, Compression | None] = {
    "none": None,
    "bfloat16": BFloat16(),
    "top 10 %": TopK(0.1),
    "top 1 %": TopK(0.01),
    "top 1 %, no feedback": TopK(0.01, error_feedback=False),
}
MOST_LOST = 0.01


@cache
def hospitals(seed: int) -> dict[str, dict[str, Exams]]:
    """Exams sorted by their findings but for noise, so that hospitals differ, then dealt out."""
    each = EXAMS + VALIDATION
    data = Phantom(HOSPITALS * each, SIDE, enrichment=0.25, seed=seed).load(Path("unused"))
    target, known = resolve(data.table.states, UncertaintyPolicy())
    generator = np.random.default_rng(seed)
    ranks = target @ generator.normal(size=target.shape[1]) + generator.normal(size=len(target))
    found = {}
    for k, rows in enumerate(np.array_split(np.argsort(ranks), HOSPITALS)):
        rows = generator.permutation(rows)
        parts = {"train": rows[:EXAMS], "validation": rows[EXAMS:]}
        found[f"hospital-{k}"] = {
            part: Exams(data.images[own], target[own], known[own], data.table.patient[own])
            for part, own in parts.items()
        }
    return found


def quality(method: str, seed: int) -> tuple[float, ...]:
    """Validation mAP and AUROC of the last round, and bytes up a hospital and round."""
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
    start = Progress(ServerState(0, travelling(network), len(clients)))
    end = run_rounds(start, Schedule(ROUNDS), algorithm, runtime, lambda _: {}, None, silent)
    sums = asking(runtime)(EvaluationRequest(end.server.model, "validation"))
    found = [macro(m(sums), sums.statistics, min_positives=1).mean for m in METRICS]
    sent = sum(int(record["bytes_up"]) for record in end.history)  # type: ignore[call-overload]
    return *found, sent / ROUNDS / len(clients)


METRICS = AveragePrecision(), Auroc()


def main() -> int:
    jobs = [(method, seed) for seed in SEEDS for method in METHODS]
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(jobs, pool.map(quality, *zip(*jobs, strict=True)), strict=True))
    values = {m: np.array([found[m, seed] for seed in SEEDS]) for m in METHODS}
    print(f"{'':21} mAP           AUROC         difference of AUROC   kB up a hospital and round")
    for method, own in values.items():
        mean, spread = own.mean(0), own.std(0, ddof=1)
        less = own[:, 1] - values["none"][:, 1]
        print(
            f"{method:21} {mean[0]:.3f} ± {spread[0]:.3f} {mean[1]:.3f} ± {spread[1]:.3f} "
            f"{less.mean():+.4f} ± {less.std(ddof=1):.4f}     {mean[2] / 1e3:7.1f} "
            f"({mean[2] / values['none'][0, 2]:.1%})"
        )
    auroc = {method: own[:, 1].mean() for method, own in values.items()}
    lost = max(auroc["none"] - auroc[method] for method in ("bfloat16", "top 10 %"))
    helped = auroc["top 1 %"] > auroc["top 1 %, no feedback"]
    print(f"largest loss of bfloat16 and top 10 %: {lost:.4f} (at most {MOST_LOST})")
    return int(lost > MOST_LOST or not helped)


if __name__ == "__main__":
    sys.exit(main())
