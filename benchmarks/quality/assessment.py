"""Heads on the bodies of a trial: their validation scores, and what they do on the test exams.

The two are separate functions: tuning calls the first alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import measures
from bodies import METHOD, Bodies, Body, Place, Training, Workplace
from fingerprint import CODE

from concilium.federation.requests import EvaluationRequest
from concilium.foundation.named_tensors import NamedTensors
from concilium.joint.inference import ScoreMeaning
from concilium.orchestration.checkpoints import environment
from concilium.orchestration.phases import asking, posterior_of, validation_score
from concilium.studies import assembly
from concilium.studies.bench import Bench, Kept, looking, of_hospitals
from concilium.studies.columns import NAN, mean_defined
from concilium.studies.configuration import digest_of
from concilium.studies.results import Plain, mean_of


@dataclass(frozen=True)
class Used:
    """One body with its head: the model that is used, and what its scores mean."""

    model: NamedTensors
    scores: ScoreMeaning
    validation: float
    report: Mapping[str, float]


@dataclass(frozen=True)
class Headed:
    """All bodies of a trial with one head; ``validation`` is a mean where there are several."""

    head: str
    benches: Mapping[str, Bench]
    bodies: Bodies
    used: Mapping[Place, Used]
    seconds: float

    @property
    def validation(self) -> float:
        """The score that a setting is chosen by."""
        return _mean_over_places({place: own.validation for place, own in self.used.items()})


def solve(training: Training, bodies: Bodies, head: str, workplace: Workplace) -> Headed:
    """The head on all bodies of a trial, and its score on validation exams; no test exam is used.

    "none" leaves bodies as they are.
    """
    started = time.perf_counter()
    benches = workplace.benches(training, head)
    used = {
        (label, name): _solve(bench, name, bodies.by_place[label, name], training.rate)
        for label, bench in benches.items()
        for name in bench.trainings
    }
    return Headed(head, benches, bodies, used, time.perf_counter() - started)


def _solve(bench: Bench, name: str, body: Body, rate: float) -> Used:
    """As ``orchestration.phases.develop`` goes on after its rounds."""
    ask = asking(bench.runtime(bench.trainings[name], rate, Kept(body.private)))
    recipe, solved = bench.recipe, None
    if recipe.head is not None:
        solved = recipe.head.solve(ask, body.model)
    model = body.model if solved is None else solved.model
    scores = recipe.final_scores(solved)
    posterior = posterior_of(recipe.prior, scores, ask)
    request = EvaluationRequest(model, "validation", posterior=posterior)
    report = {} if solved is None else solved.report
    numbers = {k: float(v) for k, v in report.items() if isinstance(v, int | float)}
    return Used(model, scores, validation_score(ask(request)), numbers)


def assess(training: Training, headed: Headed) -> Plain:
    """What a row says of the models themselves: everything but names and tuning."""
    tests = {label: _test(headed, label) for label in headed.benches}
    test = tests[""] if "" in tests else measures.of_labels(tests)
    bodies = list(headed.bodies.by_place.values())
    digests = [own.model.digest() for own in headed.used.values()]
    reports = [own.report for own in headed.used.values() if own.report]
    return {
        **described(training, headed.head),
        "kept_round": float(mean_defined(body.kept_round for body in bodies)),
        "model": digests[0] if len(digests) == 1 else digest_of(digests),
        "validation": headed.validation,
        "measures": measures.measures_of(test, _rare_labels(training)),
        "by_label": measures.by_label(test),
        "by_hospital": measures.by_hospital(test),
        "curve": bodies[0].curve if len(bodies) == 1 else (),
        "bytes_up": sum(body.bytes_up for body in bodies),
        "bytes_down": sum(body.bytes_down for body in bodies),
        "head_report": mean_of(reports) if reports else {},
        "seconds": headed.bodies.seconds + headed.seconds,
    }


def diverged(training: Training, head: str) -> Plain:
    """The same of a training that did not stay finite."""
    return {
        **described(training, head),
        **{"kept_round": NAN, "model": "", "validation": NAN, "measures": measures.undefined()},
        **{"by_label": {}, "by_hospital": {}, "curve": (), "bytes_up": 0, "bytes_down": 0},
        **{"head_report": {}, "seconds": NAN},
    }


def described(training: Training, head: str) -> dict[str, Any]:
    """With what a trial was done: its settings, the machine, and the code (``fingerprint``)."""
    study = training.as_study(head)
    return {
        "settings": study.methods[METHOD].model_dump(mode="json"),
        "environment": {**environment(), **assembly.computing_of(study), "code": CODE},
        "study": study.digest(),
    }


def _test(headed: Headed, label: str) -> Plain:
    """The models that know these labels on the test exams of all hospitals."""
    bench = headed.benches[label]
    tests = {}
    for name, parts in bench.trainings.items():
        kept = Kept(headed.bodies.by_place[label, name].private)
        look = looking(bench, parts, bench.rule, kept)
        used = headed.used[label, name]
        tests[name] = look(used.model, 0, used.scores)
    alone = bench.method.settings.trains == "hospitals"
    return of_hospitals(tests) if alone else tests["model"]


def _rare_labels(training: Training) -> tuple[str, ...]:
    return training.as_study().evaluation.rare_labels


def _mean_over_places(values: Mapping[Place, float]) -> float:
    """Mean over labels of means over hospitals, of what is defined."""
    labels = dict.fromkeys(label for label, _ in values)
    return mean_defined(
        mean_defined(value for (own, _), value in values.items() if own == label)
        for label in labels
    )
