"""Whether every choice of a study can be built: all mistakes at once, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from concilium.foundation.errors import InputError, Problem, StudyError
from concilium.studies.assembly import device_of, make, method_of, optimizer_of, training_of
from concilium.studies.configuration import Study

TABLES = ("data", "split", "network", "training", "methods")  # of a study file, with choices


def check(study: Study, file: str, tables: Sequence[str] = TABLES) -> None:
    """Build every choice in some tables of a study once. Raises StudyError with every mistake."""
    problems: list[Problem] = []

    def attempt(where: str, build: Callable[[], object]) -> None:
        if where.partition(".")[0] not in tables:
            return
        try:
            build()
        except InputError as error:
            problems.extend(
                replace(p, where=f"{file}, {where}" + (f": {p.where}" if p.where else ""))
                for p in error.problems
            )

    attempt("data.source", lambda: make("sources", study.data.source))
    attempt("split.partitioner", lambda: make("partitioners", study.split.partitioner))
    attempt("network", lambda: make("networks", study.network.architecture))
    attempt("training", lambda: training_of(study, study.training.learning_rates[0]))
    attempt("training.device", lambda: device_of(study))
    attempt("training.runtime", lambda: make("runtimes", study.training.runtime))
    attempt("training.sampling", lambda: make("samplings", study.training.sampling))
    for name, settings in study.methods.items():
        attempt(
            f"methods.{name}",
            lambda n=name, s=settings: method_of(n, s).algorithm.check(optimizer_of(study)),  # type: ignore[misc]
        )
    attempt("split.fractions", lambda: _check_fractions(study.split.fractions))
    if problems:
        raise StudyError(problems)


def _check_fractions(fractions: tuple[float, ...]) -> None:
    if abs(sum(fractions) - 1) > 1e-6:
        raise StudyError(f"{fractions} do not add up to 1")
