"""What every training and every evaluation of one job share: exams, network, method, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch

from concilium.data.dataset import Dataset, Exams
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
from concilium.orchestration.observers import Observer
from concilium.orchestration.phases import (
    Operation,
    Recipe,
    ThresholdRule,
    asking,
    assess,
    operate,
    posterior_of,
)
from concilium.runtimes.contract import LocalRuntime, Simulation
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study, digest_of
from concilium.studies.results import Plain, describe, mean_of

Parts = Mapping[str, Mapping[str, Exams]]
Look = Callable[[NamedTensors, int, ScoreMeaning], Plain]
"""A model, bootstrap replicates, and what the model's scores are, to a description."""
Private = Mapping[str, NamedTensors]
"""What stays at home, by hospital."""
NOTHING: Private = MappingProxyType({})


Beside = Callable[[NamedTensors, Operation, Sequence[Client], int], Plain]
"""What a simulation, which has all exams, adds to a description; the number is of replicates."""


def nothing_beside(*_: object) -> Plain:
    """Nothing but what a federation finds."""
    return {}


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
    dataset: Dataset
    parts: Parts
    network: Network
    initial: NamedTensors
    at_home: NamedTensors
    folder: Path
    observer: Observer

    @staticmethod
    def of(
        study: Study, job: Job, dataset: Dataset, parts: Parts, run: Path, observer: Observer
    ) -> Bench:
        """The bench of a job in a run folder; nothing is written."""
        method = assembly.method_of(job.method, study.methods[job.method])
        network = assembly.network_of(study, dataset, job.seed)
        sharing = method.settings.shares
        initial, at_home = travelling(network, sharing), private(network, sharing)
        folder = job.folder(run)
        return Bench(
            study, job, method, dataset, parts, network, initial, at_home, folder, observer
        )

    @property
    def recipe(self) -> Recipe:
        """How this method is trained and looked at."""
        schema = self.dataset.table.schema
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
        return saved_meaning(ScoreMeaning(), len(self.dataset.table.schema))

    def scores_file(self, name: str) -> Path:
        """Where it stands what the scores of a training's final model mean."""
        return self._file("scores", name)

    def _file(self, kind: str, name: str) -> Path:
        alone = self.method.settings.trains == "hospitals"
        return self.folder / f"{f'{kind}-{file_name(name)}' if alone else kind}.safetensors"

    def private_file(self, hospital: str) -> Path:
        """Where the tensors of a hospital stand that did not travel."""
        return self.folder / f"private-{file_name(hospital)}.safetensors"

    def runtime(self, parts: Parts, learning_rate: float, private: Private = NOTHING) -> Simulation:
        """A runtime over the clients that hold these exams, with what each of them kept at home."""
        training = assembly.training_of(self.study, learning_rate)
        cores = self.study.cores_of_a_job(num_cores())
        training = replace(training, spare_core=len(parts) < cores)
        clients = hospitals.clients_of(
            parts,
            self.network,
            self.method,
            training,
            self.job.seed,
            lambda hospital: private.get(hospital, self.at_home),
        )
        method = self.method
        travels = method.settings.trains == "federation"
        compression = method.compression if travels else None
        runtime: LocalRuntime = assembly.make("runtimes", self.study.training.runtime)
        return runtime.over(clients, method.algorithm, method.weighting, compression, cores)

    def checkpoints(self, name: str, learning_rate: float) -> Checkpoints:
        """The checkpoints of one training; another study's are refused."""
        own = self.study.what_changes_results(without=("methods", "seeds"))
        method = self.method.settings.model_dump(mode="json")
        digest = digest_of([own, method, self.job.seed, self.job.fold, name, learning_rate])
        folder = self.folder / f"rate-{learning_rate!r}" / file_name(name) / "checkpoints"
        return Checkpoints(folder, digest)


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
    private: Private = NOTHING,
    beside: Beside = nothing_beside,
) -> Look:
    """How a model that was trained on ``parts`` is described on the test parts of all hospitals.

    The label prior comes from the training parts of ``parts``, calibration and thresholds from
    their validation parts, by the ``rule``. What is found ``beside`` stands in the description.
    """
    rate = bench.study.training.learning_rates[0]  # no step is taken: it has no say
    own = bench.runtime(parts, rate, private)
    everybody = bench.runtime(bench.parts, rate, private)
    shares = bench.study.evaluation
    groups = frequency_groups(asking(everybody)(StatisticsRequest()), shares.head, shares.tail)

    def look(model: NamedTensors, replicates: int, scores: ScoreMeaning) -> Plain:
        ask = asking(own)
        posterior = posterior_of(bench.method.settings.prior, scores, ask)
        operation = operate(model, ask, rule, posterior)
        found = assess(model, operation, everybody, bench.recipe, replicates, bench.job.seed)
        labels = bench.dataset.table.schema.names
        sums = describe(found, operation, labels, groups, bench.study.evaluation.min_positives)
        return {**sums, **beside(model, operation, everybody.members, replicates)}

    return look


def of_hospitals(tests: Mapping[str, Plain]) -> Plain:
    """Tests of the models of single hospitals as one: means of each on ALL test exams.

    ``by_hospital`` holds what each hospital's own model does on its own test part.
    """
    together = [{k: v for k, v in test.items() if k != "by_hospital"} for test in tests.values()]
    own = {name: test["by_hospital"][name] for name, test in tests.items()}
    return {**mean_of(together), "by_hospital": own}
