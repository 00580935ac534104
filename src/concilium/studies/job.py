"""One job of a study: a method, a seed, a fold; trained at each learning rate, then assessed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save as to_safetensors

from concilium.foundation.errors import DivergenceError
from concilium.foundation.files import write_atomically
from concilium.foundation.named_tensors import NamedTensors
from concilium.orchestration.checkpoints import environment
from concilium.orchestration.observers import PhaseStarted, Warned
from concilium.orchestration.phases import Developed, asking, develop, watching
from concilium.studies import assembly
from concilium.studies.bench import (
    Bench,
    Kept,
    Parts,
    looking,
    of_hospitals,
    saved_meaning,
)
from concilium.studies.configuration import digest_of
from concilium.studies.results import Plain, mean_of


def run_job(bench: Bench) -> Plain:
    """Train, choose the learning rate by validation, assess on test; resumed where it stopped."""
    started, study, job = time.perf_counter(), bench.study, bench.job
    trains = bench.method.settings.trains
    result = _by_hospital(bench) if trains == "hospitals" else _together(bench)
    return {
        "method": job.method,
        "seed": job.seed,
        "fold": job.fold,
        "trains": trains,
        "settings": bench.method.settings.model_dump(mode="json"),
        "parameters": sum(tensor.numel() for tensor in bench.initial.values()),
        **result,
        "environment": {**environment(), **assembly.computing_of(study)},
        "seconds": time.perf_counter() - started,
    }


def _together(bench: Bench) -> Plain:
    """One model: of the federation, or of all exams pooled in one place."""
    ((name, parts),) = bench.trainings.items()
    developed, rate, scores = _best_rate(bench, parts, name, watch_test=True)
    _save_final(bench, name, developed)
    if bench.at_home:
        for hospital in (name for name, exams in bench.parts.items() if exams):
            _save(bench.private_file(hospital), developed.private.get(hospital, bench.at_home))
    account = _account(developed, scores)
    if bench.method.settings.trains == "pooled":  # nothing travels between hospitals that are one
        account |= {"bytes_up": 0, "bytes_down": 0}
    return {**account, **_assessed(bench, parts, developed, rate)}


def _by_hospital(bench: Bench) -> Plain:
    """A model for each hospital, from its own exams alone."""
    accounts: list[Plain] = []
    tests: dict[str, Plain] = {}
    for name, parts in bench.trainings.items():
        developed, rate, scores = _best_rate(bench, parts, name, watch_test=False)
        _save_final(bench, name, developed)
        accounts.append(_account(developed, scores))
        tests[name] = _assessed(bench, parts, developed, rate)["test"]
    return {
        "model": digest_of([account["model"] for account in accounts]),
        **{
            key: mean_of([account[key] for account in accounts])
            for key in ("kept_round", "validation_score", "learning_rates")
        },
        "consolidation": _mean_consolidation(accounts),
        "bytes_up": 0,
        "bytes_down": 0,
        "history": [],
        "models": accounts,
        "test": of_hospitals(tests),
        "before_consolidation": None,
    }


def _mean_consolidation(accounts: Sequence[Plain]) -> Plain | None:
    """Means of the numbers that every hospital's exact head reports, without its lists."""
    reports = [account["consolidation"] or {} for account in accounts]
    numbers = [{k: v for k, v in own.items() if not isinstance(v, list)} for own in reports]
    return mean_of(numbers) or None


def _best_rate(
    bench: Bench, parts: Parts, name: str, watch_test: bool
) -> tuple[Developed, float, dict[float, float]]:
    """Train at each learning rate; the training with the best validation score.

    With it its rate, and the scores of all.

    A rate at which the loss does not stay finite has the score NaN. Raises DivergenceError where
    that is so at every rate, with what was wrong at the last.
    """
    best: Developed | None = None
    chosen = math.nan
    scores: dict[float, float] = {}
    why = ""
    for rate in bench.study.training.learning_rates:
        try:
            developed = _develop(bench, parts, name, rate, watch_test)
        except DivergenceError as error:
            bench.observer(Warned(f"learning rate {rate:g}: {error}"))
            scores[rate], why = math.nan, str(error)
            continue
        scores[rate] = developed.validation_score
        if best is None or _better(developed.validation_score, best.validation_score):
            best, chosen = developed, rate
    if best is None:
        raise DivergenceError(f"{bench.job.method}: no learning rate can be trained at: {why}")
    return best, chosen, scores


def _better(score: float, than: float) -> bool:
    """Greater, or the first that is defined: where nothing is, the first learning rate stays."""
    return score > than or (math.isnan(than) and not math.isnan(score))


def _develop(bench: Bench, parts: Parts, name: str, rate: float, watch_test: bool) -> Developed:
    runtime = bench.runtime(parts, rate)
    everybody = runtime if parts is bench.parts else bench.runtime(bench.parts, rate)
    ask_test = asking(everybody) if watch_test else None
    return develop(
        bench.initial,
        bench.recipe,
        bench.method.algorithm,
        runtime,
        bench.checkpoints(name, rate),
        bench.observer,
        watching(asking(runtime), ask_test, bench.recipe),
    )


def _assessed(bench: Bench, parts: Parts, developed: Developed, rate: float) -> Plain:
    """The final model, and the one before its exact head, on the test parts of all hospitals."""
    bench.observer(PhaseStarted("evaluation"))
    kept = Kept(developed.private, rate, developed.history)
    look = looking(bench, parts, bench.rule, kept)
    before = None
    if developed.consolidated is not None:
        before = look(developed.model, 0, bench.method.trained_scores)
    test = look(developed.final, bench.study.evaluation.bootstrap, developed.scores)
    return {"test": test, "before_consolidation": before}


def _account(developed: Developed, scores: Mapping[float, float]) -> Plain:
    """How the training went, without the test."""
    solved = developed.consolidated
    return {
        "model": developed.final.digest(),
        "kept_round": developed.kept_round,
        "validation_score": developed.validation_score,
        "learning_rates": {repr(rate): score for rate, score in scores.items()},
        "consolidation": None if solved is None else dict(solved.report),
        "bytes_up": sum(int(record["bytes_up"]) for record in developed.history),
        "bytes_down": sum(int(record["bytes_down"]) for record in developed.history),
        "history": list(developed.history),
    }


def _save_final(bench: Bench, name: str, developed: Developed) -> None:
    """The model that is used, and what its scores mean, where the study does not say it."""
    _save(bench.model_file(name), developed.final)
    if bench.method.scores_are_saved:
        num_labels = len(bench.form.schema)
        _save(bench.scores_file(name), saved_meaning(developed.scores, num_labels))


def _save(path: Path, model: NamedTensors) -> None:
    write_atomically(path, to_safetensors({n: t.contiguous() for n, t in model.items()}))
