"""What is known of a split before anything is trained: summed answers, and what the study says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import Dataset
from concilium.federation.profiling import SplitProfileRequest
from concilium.federation.requests import StatisticsRequest
from concilium.federation.sharing import travelling
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.split_profile import SplitProfile
from concilium.labels.statistics import LabelStatistics
from concilium.networks.contract import Network
from concilium.orchestration.phases import asking
from concilium.runtimes.in_process import InProcess
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Choice, MethodSettings, Study
from concilium.studies.division import divide
from concilium.weightings.by_images import ByImages

MOST_NAMED = 4
_SUMS = {"labels", "profile", "validation"}  # told label by label


@dataclass(frozen=True)
class Situation:
    """Sums over hospitals of their training exams, and settings of a study.

    ``validation`` counts labels in the exams by which rounds and learning rates are chosen;
    ``images``: exams are images, not features; ``body_trains``: tensors below the head do;
    ``update_bytes``: of one update without compression.
    """

    labels: tuple[str, ...]
    profile: SplitProfile
    validation: LabelStatistics
    images: bool
    body_trains: bool
    rounds: int
    local_epochs: int
    batch_size: int
    participation: float
    update_bytes: int

    @property
    def images_per_hospital(self) -> float:
        """The mean over hospitals."""
        return self.profile.statistics.num_images / max(1, self.profile.hospitals)

    @property
    def steps_per_round(self) -> float:
        """Gradient steps of a hospital of mean size in one round."""
        return self.images_per_hospital / self.batch_size * self.local_epochs

    def named(self, which: npt.NDArray[np.bool_], text: Callable[[int], str]) -> str:
        """The labels of ``which`` (L,), each with a text of its number; the first few of many."""
        found = np.flatnonzero(which).tolist()
        shown = [f"{self.labels[i]} ({text(i)})" for i in found[:MOST_NAMED]]
        more = len(found) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    def to_json(self) -> dict[str, Any]:
        """Sums and what follows from them as plain values, arrays in the order of ``labels``."""
        profile = self.profile
        settings = {k: v for k, v in vars(self).items() if k not in _SUMS}
        return {
            **settings,
            "steps_per_round": self.steps_per_round,
            "hospitals": profile.hospitals,
            "effective_hospitals": profile.effective_hospitals,
            "images_in_training": profile.statistics.num_images,
            "labels": self.labels,
            "known": profile.statistics.known,
            "positives": profile.statistics.positives,
            "known_in_validation": self.validation.known,
            "positives_in_validation": self.validation.positives,
            "annotators": profile.annotators,
            "holders": profile.holders,
            "effective_holders": profile.effective_holders,
            "prevalence_spread": profile.prevalence_spread,
            "prevalence_chance": profile.prevalence.chance,
            "coupling_mean": profile.coupling.mean,
            "coupling_spread": profile.coupling.between,
            "coupling_chance": profile.coupling.chance,
        }


def data_of(study: Study, cache: Path) -> Dataset:
    """The data set of a study as the source gives it: the labels decide, no encoder is applied."""
    network = study.network.model_copy(update={"frozen": False})
    return assembly.load_data(study.model_copy(update={"network": network}), cache)


def situation_of(study: Study, dataset: Dataset, seed: int) -> Situation:
    """The situation of a study at one seed (and its first fold); nothing is trained.

    ``dataset`` is that of ``data_of``. The hospitals are asked two questions, of training and of
    validation exams, whose answers are added up; of test exams nothing is asked.
    """
    own = study.training
    network = _trained_network(study, dataset)
    parts = hospitals.parts_of(dataset, divide(dataset, study, seed), assembly.policy_of(study))
    method = assembly.method_of("fedavg", MethodSettings())  # of any kind: nothing is trained
    training = assembly.training_of(study, own.learning_rates[0])
    clients = hospitals.clients_of(
        parts, network, method, training, seed, lambda _: NamedTensors({})
    )
    ask = asking(InProcess().over(clients, FedAvg(), ByImages()))
    return Situation(
        labels=dataset.table.schema.names,
        profile=ask(SplitProfileRequest()),
        validation=ask(StatisticsRequest("validation")),
        images=dataset.images.dtype == np.uint8,
        body_trains=any(tensor.requires_grad for tensor in network.encoder.parameters()),
        rounds=own.rounds,
        local_epochs=own.local_epochs,
        batch_size=own.batch_size,
        participation=own.participation,
        update_bytes=travelling(network, "all").num_bytes(),
    )


def _trained_network(study: Study, dataset: Dataset) -> Network:
    """The network that rounds would train: above a frozen encoder, its head alone."""
    if not study.network.frozen:
        return assembly.network_of(study, dataset.form, study.seeds[0])
    width = assembly.encoder_of(study, dataset.form).head.in_features
    linear = assembly.make("networks", Choice(name="linear"))
    built: Network = linear.build((width,), len(dataset.table.schema), study.seeds[0])
    return built
