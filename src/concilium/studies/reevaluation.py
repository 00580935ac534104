"""A finished job looked at again: same model, same test exams, another operating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors

from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_alert_budget, at_sensitivity, at_specificity
from concilium.foundation.checks import one_of, positive, suggestion
from concilium.foundation.errors import InputError, Problem, StudyError
from concilium.foundation.named_tensors import NamedTensors
from concilium.joint.inference import ScoreMeaning
from concilium.orchestration.observers import silent
from concilium.studies import assembly, hospitals
from concilium.studies.bench import Bench, Beside, Job, Kept, looking, nothing_beside, of_hospitals
from concilium.studies.configuration import Study
from concilium.studies.division import divide
from concilium.studies.exact_values import exact_values
from concilium.studies.results import Plain
from concilium.studies.run import check_data, check_here, study_of

KINDS = ("specificity", "sensitivity", "alerts_per_100")


@dataclass(frozen=True)
class OperatingPoint:
    """What the thresholds aim at, on the summed validation exams.

    ``specificity`` or ``sensitivity`` of every label, in (0, 1); or ``alerts_per_100``: all labels
    together, > 0 alerts in 100 exams, at one specificity that all labels share. Raises InputError.
    """

    kind: Literal["specificity", "sensitivity", "alerts_per_100"]
    value: float

    def __post_init__(self) -> None:
        one_of(KINDS, kind=self.kind)
        positive(**{self.kind: self.value})
        if self.kind != "alerts_per_100" and self.value >= 1:
            what = f"{self.kind}={self.value:g} must be below 1"
            percent = 1 < self.value < 100
            remedy = f"give it as a fraction, {self.value / 100:g}" if percent else ""
            raise InputError(Problem("", what, remedy))

    def __call__(self, sums: EvaluationSums) -> npt.NDArray[np.float64]:
        """Thresholds (L,) on calibrated scores; NaN where a label has none."""
        rules = {
            "specificity": at_specificity,
            "sensitivity": at_sensitivity,
            "alerts_per_100": at_alert_budget,
        }
        return rules[self.kind](sums, self.value)

    def describe(self) -> str:
        """As a table says it."""
        if self.kind == "alerts_per_100":
            return f"{self.value:g} alerts per 100 exams"
        return f"{self.kind} {self.value:g}"


def evaluate_again(
    run: Path, job: Job, cache: Path, point: OperatingPoint | None, exact: bool = False
) -> Plain:
    """The test of a finished job at an operating point, None for the study's own.

    Thresholds and calibration come from the validation parts. ``exact``: with AUROC and AP from
    exact ranks of all test exams beside those of the histograms, as ``exact_values`` says. Raises
    StudyError for a job that the study does not have or that is not finished.
    """
    study = study_of(run)
    check_job(study, job, run)
    check_here(run)
    dataset = assembly.load_data(study, cache)
    check_data(run, dataset.digest())
    division = divide(dataset, study, job.seed, job.fold)
    parts = hospitals.parts_of(dataset, division, assembly.policy_of(study))
    bench = Bench.of(study, job, dataset.form, parts, run, silent)
    replicates = study.evaluation.bootstrap
    kept = Kept(_read_private(bench))
    beside: Beside = nothing_beside
    if exact:
        few = study.evaluation.min_positives
        beside = partial(exact_values, seed=job.seed, min_positives=few)
    tests = {
        name: looking(bench, own, point or bench.rule, kept, beside)(
            _read_model(bench.model_file(name), bench.initial),
            replicates,
            read_meaning(bench, name),
        )
        for name, own in bench.trainings.items()
    }
    alone = bench.method.settings.trains == "hospitals"
    return of_hospitals(tests) if alone else tests["model"]


def _read_private(bench: Bench) -> dict[str, NamedTensors]:
    """What the hospitals kept at home."""
    names = bench.parts if bench.at_home else ()
    return {name: _read_model(bench.private_file(name), bench.at_home) for name in names}


def read_meaning(bench: Bench, name: str) -> ScoreMeaning:
    """What the scores of a training's final model mean: without a file, what the study says."""
    if bench.method.scores_are_saved:
        return ScoreMeaning(**_read_model(bench.scores_file(name), bench.unsaid))
    return bench.method.trained_scores if bench.method.head is None else ScoreMeaning()


def check_job(study: Study, job: Job, run: Path) -> None:
    """Raise StudyError with all that is wrong, unless the study has this job and it is finished."""
    problems = [
        Problem(str(run), f"has no {name} {value!r}", suggestion(str(value), map(str, known)))
        for name, value, known in _asked(study, job)
        if value not in known
    ]
    if not problems and not (job.folder(run) / "result.json").exists():
        what = f"{job.method}, seed {job.seed}, fold {job.fold} is not finished"
        problems = [Problem(str(run), what, "go on with `concilium run … --resume`")]
    if problems:
        raise StudyError(problems)


def _asked(study: Study, job: Job) -> list[tuple[str, object, Sequence[Any]]]:
    return [
        ("method", job.method, list(study.methods)),
        ("seed", job.seed, study.seeds),
        ("fold", job.fold, range(max(1, study.split.folds))),
    ]


def _read_model(path: Path, initial: NamedTensors) -> NamedTensors:
    """A saved model. Raises StudyError where it is missing, damaged or of another network."""
    remedy = "run the study again into another --out"
    try:
        tensors = from_safetensors(path.read_bytes())
    except FileNotFoundError:
        raise StudyError(Problem(str(path), "is missing", remedy)) from None
    except SafetensorError as error:
        raise StudyError(Problem(str(path), f"is damaged ({error})", remedy)) from None
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != {name: tensor.shape for name, tensor in initial.items()}:
        raise StudyError(Problem(str(path), "is not a model of this study's network", remedy))
    return NamedTensors(tensors)
