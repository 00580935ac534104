"""The phases of one training: statistics → rounds → consolidation → calibration → evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from concilium.algorithms.contract import Algorithm
from concilium.evaluation.averages import macro
from concilium.evaluation.bootstrap import BootstrapSums
from concilium.evaluation.calibration import Calibration, fit_calibration
from concilium.evaluation.decoupling import Decoupled
from concilium.evaluation.sums import EvaluationSums
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.messages import total
from concilium.federation.requests import (
    BootstrapRequest,
    EvaluationRequest,
    LabelSetRequest,
    PseudoLikelihoodRequest,
    StatisticsRequest,
    TrialRequest,
)
from concilium.federation.states import ServerState
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads.contract import Ask, Head, Solved
from concilium.joint.inference import Posterior, PriorChoice, ScoreMeaning
from concilium.joint.label_prior import MOST_ENUMERATED, LabelPrior
from concilium.joint.maximum_entropy import RIDGE, fit_label_prior
from concilium.joint.pair_counts import PairCounts
from concilium.joint.pseudo_likelihood import fit_pseudo_likelihood
from concilium.labels.statistics import LabelStatistics
from concilium.metrics.auroc import Auroc
from concilium.metrics.average_precision import AveragePrecision
from concilium.orchestration.asking import Asking, together
from concilium.orchestration.checkpoints import Checkpoints, Progress
from concilium.orchestration.observers import Observer, PhaseStarted, Record, Resumed
from concilium.orchestration.rounds import Inspection, Schedule, run_rounds
from concilium.runtimes.contract import Runtime

LabelSets = tuple[tuple[int, ...], ...]
ThresholdRule = Callable[[EvaluationSums], npt.NDArray[np.float64]]
"""Thresholds (L,) on calibrated scores from the sums of validation exams."""

Start = Callable[[NamedTensors, LabelStatistics], NamedTensors]
"""The initial model with what it takes from the federation's summed statistics."""


def unchanged(model: NamedTensors, statistics: LabelStatistics) -> NamedTensors:
    """The start of a model that takes nothing from statistics."""
    return model


@dataclass(frozen=True)
class Recipe:
    """One training: its rounds, which model is kept, its exact head, how it is looked at.

    ``specificity`` sets the thresholds; ``label_sets`` are the combinations whose recall is
    followed; ``start`` gives the initial model what it takes from the summed statistics; ``prior``
    is that of labels under which the final model is used, and ``scores`` is what those of the model
    of the rounds mean.
    """

    schedule: Schedule
    keep: Literal["best", "last"] = "best"
    head: Head | None = None
    specificity: float = 0.9
    label_sets: LabelSets = ()
    start: Start = unchanged
    prior: PriorChoice = "none"
    scores: ScoreMeaning = field(default_factory=ScoreMeaning)

    def final_scores(self, solved: Solved | None) -> ScoreMeaning:
        """What the scores of the final model mean."""
        if self.head is None or solved is None:
            return self.scores
        return self.scores.solved(solved.solved, self.head.gives_evidence, solved.coupling)


@dataclass(frozen=True)
class Developed:
    """A finished training: the model of the rounds, the same with its exact head, the history.

    ``validation_score`` and ``scores``, what its scores mean, are those of the final model.
    ``private`` are the tensors that stayed at home, by client, where the sharing rule keeps any.
    """

    model: NamedTensors
    kept_round: int
    validation_score: float
    consolidated: Solved | None
    history: tuple[Record, ...]
    private: Mapping[str, NamedTensors]
    scores: ScoreMeaning

    @property
    def final(self) -> NamedTensors:
        """The model that is used: with the exact head where there is one."""
        return self.model if self.consolidated is None else self.consolidated.model


@dataclass(frozen=True)
class Operation:
    """How a model is used: calibration and thresholds (L,), both from summed validation parts.

    ``posterior``, where there is one, comes first: the others are fitted to its log-odds.
    """

    calibration: Calibration
    thresholds: npt.NDArray[np.float64]
    posterior: Posterior | None = None


@dataclass(frozen=True)
class Assessment:
    """A model on the test parts: each hospital's sums, and patient-bootstrap sums of all.

    ``uncalibrated`` are the sums of all before calibration, without alerts; ``decoupled`` is what
    all exams say where they are weighed as if labels were independent.
    """

    by_client: Mapping[str, EvaluationSums]
    bootstrap: BootstrapSums | None
    uncalibrated: EvaluationSums | None = None
    decoupled: Decoupled | None = None

    @property
    def all(self) -> EvaluationSums:
        """The sums of all hospitals."""
        return total(self.by_client.items(), tuple(self.by_client))


def asking(runtime: Runtime) -> Ask:
    """Ask every client of a runtime, and add the answers up."""
    return Asking(runtime)


def develop(
    model: NamedTensors,
    recipe: Recipe,
    algorithm: Algorithm,
    runtime: Runtime,
    checkpoints: Checkpoints | None,
    observer: Observer,
    watch: Inspection,
) -> Developed:
    """Train: statistics, rounds (resumed from the newest checkpoint), then the exact head."""
    ask = asking(runtime)
    progress = _start(model, recipe.start, ask, runtime, checkpoints, observer)
    observer(PhaseStarted("rounds"))
    progress = run_rounds(
        progress, recipe.schedule, algorithm, runtime, watch, checkpoints, observer
    )
    kept, round_ = progress.server.model, progress.server.round
    if recipe.keep == "best" and progress.best is not None:
        kept, round_ = progress.best.model, progress.best.round
    solved = None
    if recipe.head is not None:
        observer(PhaseStarted("consolidation"))
        solved = together(ask, partial(recipe.head.solve, ask, kept))
    final = kept if solved is None else solved.model
    scores = recipe.final_scores(solved)
    posterior = posterior_of(recipe.prior, scores, ask)
    score = validation_score(ask(EvaluationRequest(final, "validation", posterior=posterior)))
    private = {name: s.private for name, s in runtime.client_states.items() if s.private}
    return Developed(kept, round_, score, solved, progress.history, private, scores)


def _start(
    model: NamedTensors,
    start: Start,
    ask: Ask,
    runtime: Runtime,
    checkpoints: Checkpoints | None,
    observer: Observer,
) -> Progress:
    progress = None if checkpoints is None else checkpoints.load(observer)
    if progress is None:
        observer(PhaseStarted("statistics"))
        statistics = ask(StatisticsRequest("train"))
        model = start(model, statistics)
        num_clients = len(runtime.clients)
        return Progress(ServerState(0, model, num_clients, label_statistics=statistics))
    observer(Resumed(progress.server.round))
    runtime.restore(progress.client_states)
    return progress


def watching(ask: Ask, ask_test: Ask | None, recipe: Recipe) -> Inspection:
    """What is looked at after a round: validation, and (never chosen by) label sets in test."""

    def inspect(model: NamedTensors) -> Record:
        validation = ask(EvaluationRequest(model, "validation"))
        seen: dict[str, object] = {
            "validation_score": validation_score(validation),
            "validation_auroc": macro(
                Auroc()(validation), validation.statistics, min_positives=1
            ).mean,
        }
        if ask_test is not None and recipe.label_sets:
            thresholds = at_specificity(validation, recipe.specificity)
            request = EvaluationRequest(model, "test", None, thresholds, recipe.label_sets)
            alerts = ask_test(request).alerts
            seen["label_sets_present"] = alerts.set_present.tolist()
            seen["label_sets_found"] = alerts.set_found.tolist()
        return seen

    return inspect


def posterior_of(choice: PriorChoice, scores: ScoreMeaning, ask: Ask) -> Posterior | None:
    """What turns scores into log-odds under the chosen label prior; None for "none".

    The prior of the federation is fitted to the summed label statistics of the training parts, with
    more than 16 labels to sums of the pseudo-likelihood.
    """
    if choice == "none":
        return None
    return together(ask, partial(_posterior, choice, scores, ask))


def _posterior(choice: PriorChoice, scores: ScoreMeaning, ask: Ask) -> Posterior:
    statistics = ask(StatisticsRequest("train"))
    prior = LabelPrior.independent(PairCounts.of(statistics).log_odds)
    if choice != "independent":
        prior = _fitted_prior(statistics, prior, ask)
    return Posterior.of(choice, scores, prior, statistics)


def _fitted_prior(statistics: LabelStatistics, independent: LabelPrior, ask: Ask) -> LabelPrior:
    if len(independent.bias) <= MOST_ENUMERATED:
        return fit_label_prior(statistics)
    prevalence = independent.bias.sigmoid()
    return fit_pseudo_likelihood(
        lambda point: ask(PseudoLikelihoodRequest(prevalence, point)),
        prevalence,
        independent,
        RIDGE,
    )


def operate(
    model: NamedTensors, ask: Ask, rule: ThresholdRule, posterior: Posterior | None = None
) -> Operation:
    """Calibration and thresholds of a model, from summed validation parts."""
    raw = EvaluationRequest(model, "validation", posterior=posterior)

    def phase() -> Operation:
        calibration = fit_calibration(ask(raw))
        calibrated = ask(replace(raw, calibration=calibration))
        return Operation(calibration, rule(calibrated), posterior)

    return together(ask, phase)


def assess(
    model: NamedTensors,
    operation: Operation,
    runtime: Runtime,
    recipe: Recipe,
    replicates: int = 0,
    seed: int = 0,
) -> Assessment:
    """A model on the test parts of every client of a runtime that answers all of it."""

    def phase() -> Assessment:
        calibration, posterior = operation.calibration, operation.posterior
        ask = asking(runtime)
        counts = ask(LabelSetRequest("test"))
        weights = counts.weights()
        trial = TrialRequest(
            model, "test", calibration, operation.thresholds, recipe.label_sets, posterior, weights
        )
        tried = dict(runtime.ask(trial, runtime.clients))
        bootstrap = None
        if replicates:
            bootstrap = ask(
                BootstrapRequest(model, "test", replicates, seed, calibration, posterior)
            )
        whole = total(tried.items(), runtime.clients)
        return Assessment(
            {name: tried[name].used for name in runtime.clients if name in tried},
            bootstrap,
            whole.uncalibrated,
            Decoupled(counts, weights, whole.decoupled),
        )

    return runtime.together(phase)


def validation_score(sums: EvaluationSums) -> float:
    """Mean AP over labels with a positive and a negative: what rounds and rates are chosen by."""
    return macro(AveragePrecision()(sums), sums.statistics, min_positives=1).mean
