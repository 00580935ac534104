"""What every training and every evaluation of one job share: exams, network, method, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch

from concilium.data.dataset import Exams, Form
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.client import Client
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import private, travelling
from concilium.foundation.cores import num_cores
from concilium.foundation.files import file_name
from concilium.foundation.named_tensors import NamedTensors
from concilium.joint.inference import ScoreMeaning
from concilium.labels.frequency_groups import frequency_groups
from concilium.networks.contract import Network
from concilium.orchestration.checkpoints import Checkpoints
from concilium.orchestration.observers import Observer, Record
from concilium.orchestration.phases import (
    Operation,
    Recipe,
    ThresholdRule,
    asking,
    assess,
    operate,
    posterior_of,
)
from concilium.runtimes.contract import LocalRuntime, Runtime, Simulation
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study, digest_of
from concilium.studies.results import Plain, describe, mean_of

Parts = Mapping[str, Mapping[str, Exams]]
Look = Callable[[NamedTensors, int, ScoreMeaning], Plain]
"""A model, bootstrap replicates, and what the model's scores are, to a description."""
Private = Mapping[str, NamedTensors]
"""What stays at home, by hospital."""


@dataclass(frozen=True)
class Kept:
    """What hospitals have kept of a training, as far as a runtime of it must know.

    ``private`` are the tensors of hospitals that run here. Hospitals elsewhere have theirs, and
    find them by the training: its ``learning_rate`` (None: the first of the study) and the
    ``history`` of its rounds.
    """

    private: Private = field(default_factory=dict)
    learning_rate: float | None = None
    history: tuple[Record, ...] = ()


Beside = Callable[[NamedTensors, Operation, Sequence[Client], int], Plain]
"""What a simulation, which has all exams, adds to a description; the number is of replicates."""


def nothing_beside(*_: object) -> Plain:
    """Nothing but what a federation finds."""
    return {}


class Hands(Protocol):
    """Who trains and answers for the hospitals of a bench: those of this machine, or others."""

    def __call__(self, bench: Bench, parts: Parts, learning_rate: float, kept: Kept) -> Runtime:
        """The runtime of one training over the hospitals of these parts."""
        ...


@dataclass(frozen=True)
class Job:
    """Which method of a study, at which seed and fold."""

    method: str
    seed: int
    fold: int = 0

    def folder(self, run: Path) -> Path:
        """Where its files stand in a run folder."""
        return run / "methods" / file_name(self.method) / f"seed-{self.seed}-fold-{self.fold}"


@dataclass(frozen=True)
class Bench:
    """What all trainings of a job share: the exams of every hospital, the network, the study.

    ``initial`` are the tensors that travel before any training, ``at_home`` those that do not.
    """

    study: Study
    job: Job
    method: assembly.Method
    form: Form
    parts: Parts
    network: Network
    initial: NamedTensors
    at_home: NamedTensors
    folder: Path
    observer: Observer
    hands: Hands

    @staticmethod
    def of(
        study: Study,
        job: Job,
        form: Form,
        parts: Parts,
        run: Path,
        observer: Observer,
        hands: Hands | None = None,
    ) -> Bench:
        """The bench of a job in a run folder; nothing is written.

        By default hospitals run here; a hospital elsewhere has no parts here, ``{}``.
        """
        method = assembly.method_of(job.method, study.methods[job.method])
        network = assembly.network_of(study, form, job.seed)
        sharing = method.settings.shares
        initial, at_home = travelling(network, sharing), private(network, sharing)
        folder, hands = job.folder(run), hands or simulated
        return Bench(
            study, job, method, form, parts, network, initial, at_home, folder, observer, hands
        )

    @property
    def recipe(self) -> Recipe:
        """How this method is trained and looked at."""
        schema = self.form.schema
        return assembly.recipe_of(self.study, self.method, schema, self.network, self.job.seed)

    @property
    def rule(self) -> ThresholdRule:
        """How the study sets thresholds."""
        return lambda sums: at_specificity(sums, self.study.evaluation.specificity)

    @property
    def trainings(self) -> dict[str, Parts]:
        """The exams that each model of the job is trained on, by the model's name."""
        match self.method.settings.trains:
            case "hospitals":
                return {name: {name: own} for name, own in self.parts.items()}
            case "pooled":
                return {"model": {"pooled": hospitals.pooled(self.parts)}}
        return {"model": self.parts}

    def model_file(self, name: str) -> Path:
        """Where the final model of a training stands."""
        return self._file("model", name)

    @property
    def unsaid(self) -> NamedTensors:
        """The form in which it is saved what scores mean: ``evidence`` (L,), ``coupling`` (L, L).

        Here no score is evidence and no label says anything of another.
        """
        return saved_meaning(ScoreMeaning(), len(self.form.schema))

    def scores_file(self, name: str) -> Path:
        """Where it stands what the scores of a training's final model mean."""
        return self._file("scores", name)

    def _file(self, kind: str, name: str) -> Path:
        alone = self.method.settings.trains == "hospitals"
        return self.folder / f"{f'{kind}-{file_name(name)}' if alone else kind}.safetensors"

    def private_file(self, hospital: str) -> Path:
        """Where the tensors of a hospital stand that did not travel."""
        return self.folder / f"private-{file_name(hospital)}.safetensors"

    def runtime(self, parts: Parts, learning_rate: float, kept: Kept = Kept()) -> Runtime:
        """A runtime over the hospitals of these parts, with what each of them kept at home."""
        return self.hands(self, parts, learning_rate, kept)

    def checkpoints(self, name: str, learning_rate: float) -> Checkpoints:
        """The checkpoints of one training; another study's are refused."""
        own = self.study.what_changes_results(without=("methods", "seeds"))
        method = self.method.settings.model_dump(mode="json")
        digest = digest_of([own, method, self.job.seed, self.job.fold, name, learning_rate])
        folder = self.folder / f"rate-{learning_rate!r}" / file_name(name) / "checkpoints"
        return Checkpoints(folder, digest)


def simulated(
    bench: Bench,
    parts: Parts,
    learning_rate: float,
    kept: Kept,
    secrets: Mapping[str, bytes] | None = None,
) -> Simulation:
    """All hospitals on this machine, by the study's own runtime; ``secrets`` by name."""
    training = assembly.training_of(bench.study, learning_rate)
    cores = bench.study.cores_of_a_job(num_cores())
    training = replace(training, spare_core=len(parts) < cores)
    method = bench.method
    clients = hospitals.clients_of(
        parts,
        bench.network,
        method,
        training,
        bench.job.seed,
        lambda hospital: kept.private.get(hospital, bench.at_home),
    )
    if secrets:
        clients = tuple(replace(own, secret=secrets[own.name]) for own in clients)
    compression = method.compression if method.settings.trains == "federation" else None
    runtime: LocalRuntime = assembly.make("runtimes", bench.study.training.runtime)
    return runtime.over(clients, method.algorithm, method.weighting, compression, cores)


def saved_meaning(scores: ScoreMeaning, num_labels: int) -> NamedTensors:
    """What scores mean, as tensors: ``evidence`` (L,) bool and ``coupling`` (L, L), 0 for None."""
    evidence = torch.as_tensor(scores.evidence).expand(num_labels)
    coupling = scores.coupling
    if coupling is None:
        coupling = torch.zeros(num_labels, num_labels, dtype=torch.float64)
    return NamedTensors({"evidence": evidence, "coupling": coupling})


def looking(
    bench: Bench,
    parts: Parts,
    rule: ThresholdRule,
    kept: Kept = Kept(),
    beside: Beside = nothing_beside,
) -> Look:
    """How a model that was trained on ``parts`` is described on the test parts of all hospitals.

    The label prior comes from the training parts of ``parts``, calibration and thresholds from
    their validation parts, by the ``rule``. What is found ``beside`` stands in the description.
    """
    rate = kept.learning_rate  # no step is taken: where hospitals run here it has no say
    if rate is None:
        rate = bench.study.training.learning_rates[0]
    own = bench.runtime(parts, rate, kept)
    everybody = own if parts is bench.parts else bench.runtime(bench.parts, rate, kept)
    members = everybody.members if isinstance(everybody, Simulation) else ()
    shares = bench.study.evaluation
    groups = frequency_groups(asking(everybody)(StatisticsRequest()), shares.head, shares.tail)

    def look(model: NamedTensors, replicates: int, scores: ScoreMeaning) -> Plain:
        ask = asking(own)
        posterior = posterior_of(bench.method.settings.prior, scores, ask)
        operation = operate(model, ask, rule, posterior)
        found = assess(model, operation, everybody, bench.recipe, replicates, bench.job.seed)
        labels = bench.form.schema.names
        sums = describe(found, operation, labels, groups, bench.study.evaluation.min_positives)
        return {**sums, **beside(model, operation, members, replicates)}

    return look


def of_hospitals(tests: Mapping[str, Plain]) -> Plain:
    """Tests of the models of single hospitals as one: means of each on ALL test exams.

    ``by_hospital`` holds what each hospital's own model does on its own test part.
    """
    together = [{k: v for k, v in test.items() if k != "by_hospital"} for test in tests.values()]
    own = {name: test["by_hospital"][name] for name, test in tests.items()}
    return {**mean_of(together), "by_hospital": own}
