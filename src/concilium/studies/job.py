"""One job of a study: one method, one seed, one fold; trained at each learning rate, then assessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_safetensors

from concilium.data.dataset import Dataset, Exams
from concilium.federation.messages import total
from concilium.federation.sharing import travelling
from concilium.foundation.files import write_atomically
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics
from concilium.networks.contract import Network
from concilium.orchestration.checkpoints import Checkpoints
from concilium.orchestration.observers import Observer, PhaseStarted
from concilium.orchestration.phases import (
    Developed,
    Recipe,
    assess,
    asking,
    develop,
    operate,
    watching,
)
from concilium.runtimes.in_process import InProcess
from concilium.studies import assembly
from concilium.studies.configuration import Study, digest_of
from concilium.studies.results import Plain, describe, mean_of

Parts = Mapping[str, Mapping[str, Exams]]


@dataclass(frozen=True)
class Job:
    """Which method of a study, at which seed and fold."""

    method: str
    seed: int
    fold: int = 0

    def folder(self, run: Path) -> Path:
        """Where its files stand in a run folder."""
        return run / "methods" / self.method / f"seed-{self.seed}-fold-{self.fold}"


@dataclass(frozen=True)
class Bench:
    """What all trainings of a job share: the exams of every hospital, the network, the study."""

    study: Study
    job: Job
    method: assembly.Method
    dataset: Dataset
    parts: Parts
    network: Network
    initial: NamedTensors
    folder: Path
    observer: Observer

    @property
    def recipe(self) -> Recipe:
        """How this method is trained and looked at."""
        return assembly.recipe_of(self.study, self.method, self.dataset.table.schema, self.job.seed)

    def runtime(self, parts: Parts, learning_rate: float) -> InProcess:
        """A runtime over the clients that hold these exams."""
        training = assembly.training_of(self.study, learning_rate)
        clients = assembly.clients_of(parts, self.network, self.method, training, self.job.seed)
        return InProcess(clients, self.method.algorithm, self.method.weighting)

    def checkpoints(self, name: str, learning_rate: float) -> Checkpoints:
        """The checkpoints of one training; another study's are refused."""
        own = self.study.model_dump(mode="json", exclude={"title", "workers", "methods", "seeds"})
        method = self.method.settings.model_dump(mode="json")
        digest = digest_of([own, method, self.job.seed, self.job.fold, name, learning_rate])
        return Checkpoints(self.folder / f"rate-{learning_rate:g}" / name / "checkpoints", digest)


def run_job(
    study: Study, job: Job, dataset: Dataset, parts: Parts, run: Path, observer: Observer
) -> Plain:
    """Train, choose the learning rate by validation, assess on test; resumed where it stopped."""
    started = time.perf_counter()
    network = assembly.network_of(study, dataset, job.seed)
    method = assembly.method_of(job.method, study.methods[job.method])
    bench = Bench(
        study,
        job,
        method,
        dataset,
        parts,
        network,
        travelling(network),
        job.folder(run),
        observer,
    )
    result = _by_hospital(bench) if method.settings.trains == "hospitals" else _together(bench)
    return {
        "method": job.method,
        "seed": job.seed,
        "fold": job.fold,
        "trains": method.settings.trains,
        "settings": method.settings.model_dump(mode="json"),
        "parameters": sum(tensor.numel() for tensor in bench.initial.values()),
        **result,
        "seconds": time.perf_counter() - started,
    }


def _together(bench: Bench) -> Plain:
    """One model: of the federation, or of all exams pooled in one place."""
    together = bench.method.settings.trains == "pooled"
    parts = {"pooled": assembly.pooled(bench.parts)} if together else bench.parts
    developed, rates = _best_rate(bench, parts, "model", watch_test=True)
    _save(bench.folder / "model.safetensors", developed.final)
    return {**_account(developed, rates), **_assessed(bench, parts, developed, rates)}


def _by_hospital(bench: Bench) -> Plain:
    """A model for each hospital, from its own exams alone; means over hospitals on ALL test exams.

    ``by_hospital`` holds what each hospital's own model does on its own test part.
    """
    accounts, tests = [], []
    for name, own in bench.parts.items():
        developed, rates = _best_rate(bench, {name: own}, name, watch_test=False)
        _save(bench.folder / f"model-{name}.safetensors", developed.final)
        accounts.append(_account(developed, rates))
        test = _assessed(bench, {name: own}, developed, rates)["test"]
        tests.append({**test, "by_hospital": {name: test["by_hospital"][name]}})
    own_tests = {name: t for test in tests for name, t in test["by_hospital"].items()}
    mean = mean_of([{k: v for k, v in test.items() if k != "by_hospital"} for test in tests])
    return {
        **accounts[0],
        "history": [],
        "models": accounts,
        "test": {**mean, "by_hospital": own_tests},
        "before_consolidation": None,
    }


def _best_rate(
    bench: Bench, parts: Parts, name: str, watch_test: bool
) -> tuple[Developed, dict[float, float]]:
    """Train at each learning rate; the training with the best validation score, and all scores."""
    best: tuple[float, Developed] | None = None
    scores: dict[float, float] = {}
    for rate in bench.study.training.learning_rates:
        runtime = bench.runtime(parts, rate)
        ask_test = asking(bench.runtime(bench.parts, rate)) if watch_test else None
        developed = develop(
            bench.initial,
            bench.recipe,
            bench.method.algorithm,
            runtime,
            bench.checkpoints(name, rate),
            bench.observer,
            watching(asking(runtime), ask_test, bench.recipe),
        )
        score = scores[rate] = developed.validation_score
        if best is None or score > best[0] or best[0] != best[0]:
            best = (score, developed)
    assert best is not None
    return best[1], scores


def _assessed(
    bench: Bench, parts: Parts, developed: Developed, rates: Mapping[float, float]
) -> Plain:
    """The final model, and the one before its exact head, on the test parts of all hospitals."""
    bench.observer(PhaseStarted("evaluation"))
    rate = next(iter(rates))
    own, everybody = bench.runtime(parts, rate), bench.runtime(bench.parts, rate)
    training = total(
        ((client.name, client.statistics()) for client in everybody.members), everybody.clients
    )
    look = _look(bench, own, everybody, training)
    before = None
    if developed.consolidated is not None:
        before = look(developed.model, 0)
    replicates = bench.study.evaluation.bootstrap
    return {"test": look(developed.final, replicates), "before_consolidation": before}


def _look(
    bench: Bench, own: InProcess, everybody: InProcess, training: LabelStatistics
) -> Callable[[NamedTensors, int], Plain]:
    def look(model: NamedTensors, replicates: int) -> Plain:
        operation = operate(model, asking(own), bench.recipe)
        found = assess(model, operation, everybody, bench.recipe, replicates, bench.job.seed)
        return describe(
            found,
            operation,
            bench.dataset.table.schema.names,
            training,
            bench.study.evaluation.min_positives,
        )

    return look


def _account(developed: Developed, rates: Mapping[float, float]) -> Plain:
    """How the training went, without the test."""
    solved = developed.consolidated
    return {
        "model": developed.final.digest(),
        "kept_round": developed.kept_round,
        "validation_score": developed.validation_score,
        "learning_rates": {f"{rate:g}": score for rate, score in rates.items()},
        "consolidation": None if solved is None else dict(solved.report),
        "bytes_up": sum(int(record["bytes_up"]) for record in developed.history),
        "bytes_down": sum(int(record["bytes_down"]) for record in developed.history),
        "history": list(developed.history),
    }


def _save(path: Path, model: NamedTensors) -> None:
    write_atomically(path, to_safetensors({n: t.contiguous() for n, t in model.items()}))
