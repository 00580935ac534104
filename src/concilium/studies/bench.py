"""What every training and every evaluation of one job share: exams, network, method, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from concilium.data.dataset import Dataset, Exams
from concilium.evaluation.thresholds import at_specificity
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.foundation.files import file_name
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.frequency_groups import frequency_groups
from concilium.networks.contract import Network
from concilium.orchestration.checkpoints import Checkpoints
from concilium.orchestration.observers import Observer
from concilium.orchestration.phases import Recipe, ThresholdRule, asking, assess, operate
from concilium.runtimes.in_process import InProcess
from concilium.studies import assembly
from concilium.studies.configuration import Study, digest_of
from concilium.studies.results import Plain, describe, mean_of

Parts = Mapping[str, Mapping[str, Exams]]
Look = Callable[[NamedTensors, int], Plain]


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

    @staticmethod
    def of(
        study: Study, job: Job, dataset: Dataset, parts: Parts, run: Path, observer: Observer
    ) -> Bench:
        """The bench of a job in a run folder; nothing is written."""
        method = assembly.method_of(job.method, study.methods[job.method])
        network = assembly.network_of(study, dataset, job.seed)
        initial = travelling(network)
        return Bench(
            study, job, method, dataset, parts, network, initial, job.folder(run), observer
        )

    @property
    def recipe(self) -> Recipe:
        """How this method is trained and looked at."""
        return assembly.recipe_of(self.study, self.method, self.dataset.table.schema, self.job.seed)

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
                return {"model": {"pooled": assembly.pooled(self.parts)}}
        return {"model": self.parts}

    def model_file(self, name: str) -> Path:
        """Where the final model of a training stands."""
        alone = self.method.settings.trains == "hospitals"
        return self.folder / (
            f"model-{file_name(name)}.safetensors" if alone else "model.safetensors"
        )

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
        folder = self.folder / f"rate-{learning_rate!r}" / file_name(name) / "checkpoints"
        return Checkpoints(folder, digest)


def looking(bench: Bench, parts: Parts, rule: ThresholdRule) -> Look:
    """How a model that was trained on ``parts`` is described on the test parts of all hospitals.

    Calibration and thresholds come from the validation parts of ``parts``, by the ``rule``.
    """
    rate = bench.study.training.learning_rates[0]  # no step is taken: it has no say
    own, everybody = bench.runtime(parts, rate), bench.runtime(bench.parts, rate)
    shares = bench.study.evaluation
    groups = frequency_groups(asking(everybody)(StatisticsRequest()), shares.head, shares.tail)

    def look(model: NamedTensors, replicates: int) -> Plain:
        operation = operate(model, asking(own), rule)
        found = assess(model, operation, everybody, bench.recipe, replicates, bench.job.seed)
        labels = bench.dataset.table.schema.names
        return describe(found, operation, labels, groups, bench.study.evaluation.min_positives)

    return look


def of_hospitals(tests: Mapping[str, Plain]) -> Plain:
    """Tests of the models of single hospitals as one: means of each on ALL test exams.

    ``by_hospital`` holds what each hospital's own model does on its own test part.
    """
    together = [{k: v for k, v in test.items() if k != "by_hospital"} for test in tests.values()]
    own = {name: test["by_hospital"][name] for name, test in tests.items()}
    return {**mean_of(together), "by_hospital": own}
