"""Training: the bodies of one trial, on which heads are solved afterwards.

A body is found by all that it depends on (``Training.key``), so one that was kept is never taken
for another, and one that was not is trained again, bit for bit.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from concilium.data.dataset import Dataset
from concilium.foundation.errors import DivergenceError
from concilium.foundation.files import write_atomically
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.schema import LabelSchema
from concilium.orchestration.observers import silent
from concilium.orchestration.phases import Developed, asking, develop, watching
from concilium.studies import assembly, hospitals
from concilium.studies.bench import Bench, Job, Parts
from concilium.studies.columns import mean_defined
from concilium.studies.configuration import Study, digest_of
from concilium.studies.division import Division, divide

HERE = Path(__file__).resolve().parent
METHOD = "method"  # a study here holds one method
NO_HEAD = "none"

Plain = Mapping[str, Any]
Place = tuple[str, str]
"""Which of a trial's bodies: the label it knows ("" for all), the name of its training."""


@dataclass(frozen=True)
class Training:
    """What is trained: a study without seeds and methods, a table of methods without head."""

    study: Plain
    settings: Plain
    rate: float
    seed: int
    one_label_at_a_time: bool = False

    @property
    def key(self) -> str:
        """Digest of all that the bodies depend on, besides the data and the machine."""
        own = [self.study, self.settings, self.rate, self.seed, self.one_label_at_a_time]
        return digest_of(own)

    def as_study(self, head: str = NO_HEAD) -> Study:
        """The study that trains this and nothing else, as `concilium run` would."""
        training = {"runtime": "in_process", **self.study.get("training", {})}
        method = explicit(self.settings)
        if head != NO_HEAD:
            method["head"] = head
        own = {
            "seeds": [self.seed],
            "training": {**training, "learning_rates": [self.rate]},
            "methods": {METHOD: method},
        }
        return Study.model_validate({"title": "quality", **self.study, **own})


def explicit(settings: Plain) -> dict[str, Any]:
    """A table of a method that is never empty: an empty one would be a preset by its name."""
    return {"trains": "federation", **settings}


@dataclass(frozen=True)
class Body:
    """One trained model, before any head; ``private`` is what stayed at home, by hospital.

    ``curve`` has the validation score, and the recall of label sets, of each round looked at.
    """

    model: NamedTensors
    private: Mapping[str, NamedTensors]
    kept_round: int
    bytes_up: int
    bytes_down: int
    curve: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Bodies:
    """All bodies of a trial, and the seconds that they took."""

    by_place: Mapping[Place, Body]
    seconds: float


class Workplace:
    """Data and divisions of one process: the last ones are kept, the next ones replace them."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._dataset: tuple[str, Dataset] | None = None
        self._division: tuple[str, Division] | None = None
        self._parts: tuple[str, Parts] | None = None

    def benches(self, training: Training, head: str = NO_HEAD) -> dict[str, Bench]:
        """The bench of a trial under "", or one for each label by its name.

        Patients are where the division of all labels has put them.
        """
        study = training.as_study(head)
        dataset, division = self.dataset(study), self.division(study)
        if not training.one_label_at_a_time:
            return {"": self._bench(study, dataset, self._all_parts(study, dataset, division))}
        policy, found = assembly.policy_of(study), {}
        for column, label in enumerate(dataset.table.schema.names):
            own, alone = of_label(dataset, column), division_of_label(division, column)
            narrow = study_of_label(study, label)
            found[label] = self._bench(narrow, own, hospitals.parts_of(own, alone, policy))
        return found

    def dataset(self, study: Study) -> Dataset:
        """The data of a study."""
        key = _key(study, "data", "network")
        if self._dataset is None or self._dataset[0] != key:
            self._dataset = self._division = self._parts = None  # before the next ones are read
            absolute = assembly.with_absolute_paths(study, HERE)
            self._dataset = key, assembly.load_data(absolute, self._cache)
        return self._dataset[1]

    def division(self, study: Study) -> Division:
        """Who holds what at the study's seed."""
        key = _key(study, "data", "network", "split", "seeds")
        if self._division is None or self._division[0] != key:
            self._division = self._parts = None
            self._division = key, divide(self.dataset(study), study, study.seeds[0])
        return self._division[1]

    def _all_parts(self, study: Study, dataset: Dataset, division: Division) -> Parts:
        key = _key(study, "data", "network", "split", "seeds")
        if self._parts is None or self._parts[0] != key:
            self._parts = None
            parts = hospitals.parts_of(dataset, division, assembly.policy_of(study))
            self._parts = key, parts
        return self._parts[1]

    def _bench(self, study: Study, dataset: Dataset, parts: Parts) -> Bench:
        job = Job(METHOD, study.seeds[0])
        return Bench.of(study, job, dataset.form, parts, Path("nothing-is-written"), silent)


def _key(study: Study, *tables: str) -> str:
    return digest_of(study.model_dump(mode="json", include=set(tables)))


def of_label(dataset: Dataset, column: int) -> Dataset:
    """The same exams with one label."""
    table = dataset.table
    schema = LabelSchema((table.schema.names[column],), {})
    narrow = replace(table, schema=schema, states=table.states[:, [column]])
    return replace(dataset, table=narrow)


def division_of_label(division: Division, column: int) -> Division:
    """The same division, with what is annotated of one label."""
    annotated = division.partition.annotated[:, [column]]
    return replace(division, partition=replace(division.partition, annotated=annotated))


def study_of_label(study: Study, label: str) -> Study:
    """The study with one label, which watches no combination."""
    rare = [name for name in study.evaluation.rare_labels if name == label]
    watched = study.evaluation.model_copy(update={"label_sets": (), "rare_labels": tuple(rare)})
    data = study.data.model_copy(update={"labels": (label,)})
    return study.model_copy(update={"data": data, "evaluation": watched})


def train(training: Training, workplace: Workplace) -> Bodies | None:
    """All bodies of a trial; None where one of them did not stay finite."""
    started = time.perf_counter()
    benches = workplace.benches(training)
    try:
        found = {
            (label, name): _train(bench, parts, training.rate)
            for label, bench in benches.items()
            for name, parts in bench.trainings.items()
        }
    except DivergenceError:
        return None
    return Bodies(found, time.perf_counter() - started)


def _train(bench: Bench, parts: Parts, rate: float) -> Body:
    trains = bench.method.settings.trains
    runtime = bench.runtime(parts, rate)
    everybody = runtime if parts is bench.parts else bench.runtime(bench.parts, rate)
    ask_test = None if trains == "hospitals" else asking(everybody)
    watch = watching(asking(runtime), ask_test, bench.recipe)
    algorithm = bench.method.algorithm
    developed = develop(bench.initial, bench.recipe, algorithm, runtime, None, silent, watch)
    travelled = developed.history if trains == "federation" else ()
    return Body(
        developed.model,
        developed.private,
        developed.kept_round,
        sum(int(record["bytes_up"]) for record in travelled),
        sum(int(record["bytes_down"]) for record in travelled),
        _curve(developed),
    )


def _curve(developed: Developed) -> tuple[dict[str, float], ...]:
    looked_at = [record for record in developed.history if "validation_score" in record]
    found = []
    for record in looked_at:
        seen = {key: float(record[key]) for key in ("round", "validation_score")}
        if "label_sets_found" in record:
            pairs = zip(record["label_sets_found"], record["label_sets_present"], strict=True)
            seen["set_recall"] = mean_defined(f / p for f, p in pairs if p)
        found.append(seen)
    return tuple(found)


def save(bodies: Bodies, path: Path) -> None:
    """Keep all bodies of a trial in one file."""
    content = [
        {
            "place": list(place),
            **{name: getattr(body, name) for name in ("kept_round", "bytes_up", "bytes_down")},
            "curve": list(body.curve),
            "model": dict(body.model),
            "private": {name: dict(own) for name, own in body.private.items()},
        }
        for place, body in bodies.by_place.items()
    ]
    buffer = io.BytesIO()
    torch.save({"seconds": bodies.seconds, "bodies": content}, buffer)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> Bodies | None:
    """The bodies that were kept; None where there are none."""
    if not path.exists():
        return None
    read = torch.load(path, weights_only=True)
    found = {
        (own["place"][0], own["place"][1]): Body(
            NamedTensors(own["model"]),
            {name: NamedTensors(tensors) for name, tensors in own["private"].items()},
            own["kept_round"],
            own["bytes_up"],
            own["bytes_down"],
            tuple(own["curve"]),
        )
        for own in read["bodies"]
    }
    return Bodies(found, read["seconds"])
