"""What a report stands on: the files of a run folder, read once, and means over its runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.foundation.errors import Problem, StudyError
from concilium.foundation.files import sha256
from concilium.studies.comparison import Row, summarise
from concilium.studies.configuration import Study
from concilium.studies.coverage import (
    HospitalCoverage,
    LabelCoverage,
    Range,
    hospital_coverage,
    label_coverage,
    span_of,
)
from concilium.studies.run import study_of

Plain = Mapping[str, Any]
Floats = npt.NDArray[np.float64]

SMALLEST_CELL = 10  # counts below it, of one hospital, are not shown
NEEDED = ("study.toml", "study.json", "manifest.json", "data.json", "results.json")


@dataclass(frozen=True)
class Evidence:
    """A finished run. ``divisions`` by "seed-S-fold-F"; ``digests`` are SHA-256 by file."""

    study: Study
    study_text: str
    manifest: Plain
    data: Plain
    results: tuple[Plain, ...]
    divisions: Mapping[str, Plain]
    digests: Mapping[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(self.data["labels"])

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that have results, as the study orders them."""
        found = {result["method"] for result in self.results}
        return tuple(name for name in self.study.methods if name in found)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The comparison of all methods."""
        return summarise(self.results, self.study.evaluation.rare_labels, self.methods)

    def of(self, method: str) -> tuple[Plain, ...]:
        """Results of one method, by seed and fold."""
        own = [result for result in self.results if result["method"] == method]
        return tuple(sorted(own, key=lambda result: (result["seed"], result["fold"])))

    def trains(self, method: str) -> str:
        """Who trains it: federation, hospitals or pooled."""
        return str(self.of(method)[0]["trains"])

    @property
    def main(self) -> str:
        """The method that the report is about: concilium, else the last federated one."""
        federated = [name for name in self.methods if self.trains(name) == "federation"]
        if "concilium" in self.methods or not federated:
            return "concilium" if "concilium" in self.methods else self.methods[-1]
        return federated[-1]

    @property
    def references(self) -> tuple[str, ...]:
        """What the main method is judged against: plain FedAvg and every pooled training."""
        names = [n for n in self.methods if n == "fedavg" or self.trains(n) == "pooled"]
        return tuple(name for name in names if name != self.main)

    @property
    def num_runs(self) -> int:
        """Seeds × folds that have results."""
        return len({(result["seed"], result["fold"]) for result in self.results})

    @cached_property
    def coverage(self) -> LabelCoverage:
        """Over which labels the means go."""
        return label_coverage(self.results, self.study.evaluation.min_positives)

    @cached_property
    def hospitals(self) -> HospitalCoverage:
        """The hospitals that every run defines, which alone can be compared."""
        return hospital_coverage(self.results)

    @property
    def exams_of_sets(self) -> dict[str, Range]:
        """Test exams that have each followed combination, least and most over runs."""
        sets = [result["test"]["label_sets"] for result in self.of(self.main)]
        return {
            " + ".join(own["labels"]): span_of(run[place]["present"] for run in sets)
            for place, own in enumerate(sets[0])
        }

    def positives_of(self, label: str) -> Range:
        """Positives of a label in the test exams, least and most over runs."""
        place = self.labels.index(label)
        return span_of(r["test"]["positives"][place] for r in self.of(self.main))

    def counted(self, title: str) -> str:
        """The title of a column of counts, which are means where there are several runs."""
        return f"{title} (mean over runs)" if self.num_runs > 1 else title

    def mean(self, method: str, *path: str) -> Floats:
        """Mean over the runs of a method of what stands at a path of its results."""
        return defined_mean(stacked(self.of(method), *path))


def read_evidence(run: Path) -> Evidence:
    """Read a run folder. Raises StudyError that names every file that is missing."""
    study = study_of(run)
    missing = [name for name in NEEDED if not (run / name).exists()]
    results = [] if missing else _json(run / "results.json")
    if missing or not results:
        remedy = "finish the run with `concilium run STUDY --resume`"
        names = missing or ["a finished job in results.json"]
        raise StudyError([Problem(str(run), f"has no {name}", remedy) for name in names])
    folders = sorted((run / "splits").glob("seed-*-fold-*"), key=_seed_and_fold)
    return Evidence(
        study=study,
        study_text=(run / "study.toml").read_text(encoding="utf-8"),
        manifest=_json(run / "manifest.json"),
        data=_json(run / "data.json"),
        results=tuple(results),
        divisions={folder.name: _division(folder) for folder in folders},
        digests={name: sha256(run / name) for name in NEEDED if name != "study.json"}
        | {f"splits/{f.name}/split.npz": sha256(f / "split.npz") for f in folders},
    )


def stacked(results: Sequence[Plain], *path: str) -> Floats:
    """What stands at a path of each result (R, …); null is NaN."""
    found = []
    for result in results:
        value: Any = result
        for key in path:
            value = value[key]
        found.append(value)
    return np.array(found, np.float64)


def defined_mean(values: Floats) -> Floats:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(0)
    total = np.where(defined, values, 0).sum(0)
    return np.asarray(total / np.where(count == 0, np.nan, count), np.float64)


def _division(folder: Path) -> Plain:
    return {name: _json(folder / f"{name}.json") for name in ("shifts", "disjointness")}


def _seed_and_fold(folder: Path) -> tuple[int, int]:
    found = re.fullmatch(r"seed-(-?\d+)-fold-(\d+)", folder.name)
    assert found is not None
    return int(found[1]), int(found[2])


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
