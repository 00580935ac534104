"""Which studies a hospital answers: files that its own people put into its folder.

No study travels. A question names a study by its digest, and the hospital looks for
``studies/DIGEST.toml`` among its own files. The digest of a federated study is a SHA-256 over all
that changes a result, without what is each hospital's own (where its exams are) and what only a
simulation needs (into how many hospitals exams are dealt out); of a weights file it holds the
SHA-256 of its content.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from concilium.foundation.errors import InputError, Problem, StudyError
from concilium.foundation.files import sha256, write_atomically
from concilium.foundation.paths import expand
from concilium.labels.schema import LabelSchema
from concilium.studies import assembly, choice_checks
from concilium.studies.configuration import Choice, Study, digest_of
from concilium.studies.label_checks import columns_of
from concilium.studies.reading import read_study

FOLDER, WEIGHTS = "studies", ".weights"

NOT_DEALT = {"hospitals": 1, "partitioner": Choice(name="iid")}
"""The settings of a split where a hospital divides its own exams: it deals them out to nobody."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def federation_digest(study: Study) -> str:
    """SHA-256 of a study as hospitals agree on it; its weights file is read.

    Raises StudyError where that cannot be done.
    """
    values = study.what_changes_results()
    del values["data"]["source"]
    for own in NOT_DEALT:
        del values["split"][own]
    if study.network.weights:
        values["network"]["weights"] = _content(Path(study.network.weights))
    return digest_of(values)


def _content(weights: Path) -> str:
    try:
        return sha256(weights)
    except OSError as error:
        problem = Problem(
            str(weights), f"cannot be read ({error.strerror})", "give network.weights"
        )
        raise StudyError(problem) from None


def read_federated(path: Path) -> Study:
    """A study file for a federation, its weights path absolute.

    Raises StudyError with every mistake in it, also those that only a federation minds.
    """
    study = read_study(path)
    if study.network.weights:
        beside = path.with_suffix(WEIGHTS)  # where ``allow`` puts a copy
        there = expand(study.network.weights, path.parent)
        copied = _DIGEST.fullmatch(path.stem) and beside.exists()
        weights = str(beside.absolute() if copied else there)
        network = study.network.model_copy(update={"weights": weights})
        study = study.model_copy(update={"network": network})
    check_federated(study, path.name)
    return study


def check_federated(study: Study, file: str) -> None:
    """Raise StudyError with all that keeps a study from being run over hospitals elsewhere."""
    problems: list[Problem] = []
    dealt = study.split.model_copy(update=NOT_DEALT)
    own = study.model_copy(update={"split": dealt})
    try:
        choice_checks.check(own, file, ("split", "network", "training", "methods"))
    except StudyError as error:
        problems += error.problems
    if not any(own.trains == "federation" for own in study.methods.values()):
        what = "no method trains over a federation"
        remedy = (
            "add one, say [methods.concilium]; what trains alone or pooled runs where the data are"
        )
        problems.append(Problem(f"{file}, methods", what, remedy))
    problems += _problems_of_labels(study, file)
    if problems:
        raise StudyError(problems)


def _problems_of_labels(study: Study, file: str) -> list[Problem]:
    """What is wrong with the labels, which no data tell here."""
    if not study.data.labels:
        what = "names no labels, and hospitals' own lists may differ"
        return [Problem(f"{file}, data", what, 'say which, in order: labels = ["Effusion", …]')]
    problems: list[Problem] = []
    asked = [("data.labels", study.data.labels)]
    asked += [("evaluation.label_sets", names) for names in study.evaluation.label_sets]
    asked += [("evaluation.rare_labels", study.evaluation.rare_labels)]
    asked += [("split.held_out", names) for names in study.split.held_out]
    try:
        schema = LabelSchema(study.data.labels)
        for where, names in asked:
            columns_of(schema, names, f"{file}, {where}")
    except InputError as error:
        problems += error.problems
    return problems


def allow(path: Path, folder: Path) -> str:
    """Put a study among those that the hospital of a folder answers; gives its digest.

    Its weights file, where it has one, is copied beside it. Raises StudyError for a study that
    cannot be run over a federation.
    """
    study = read_federated(path)
    digest = federation_digest(study)
    if study.network.weights:
        target = _weights(folder, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(study.network.weights, target)
    write_atomically(folder / FOLDER / f"{digest}.toml", path.read_bytes())
    return digest


def _weights(folder: Path, digest: str) -> Path:
    return folder / FOLDER / f"{digest}{WEIGHTS}"


@dataclass(frozen=True)
class Allowed:
    """The studies of a hospital's folder; a file put there or taken away counts at once."""

    folder: Path
    _read: dict[str, tuple[tuple[int, int], Study | None]] = field(default_factory=dict)

    def studies(self) -> Mapping[str, Study]:
        """By digest. A file whose study is another than its name says is none of them."""
        there = {path.stem: _stamp(path) for path in (self.folder / FOLDER).glob("*.toml")}
        for digest in self._read.keys() - there.keys():
            del self._read[digest]
        for digest, stamp in sorted(there.items()):
            if digest not in self._read or self._read[digest][0] != stamp:
                self._read[digest] = stamp, self._study(digest)
        return {digest: study for digest, (_, study) in self._read.items() if study is not None}

    def _study(self, digest: str) -> Study | None:
        if not _DIGEST.fullmatch(digest):
            return None
        path, weights = self.folder / FOLDER / f"{digest}.toml", _weights(self.folder, digest)
        try:
            study = read_study(path)
            if study.network.weights:
                network = study.network.model_copy(update={"weights": str(weights)})
                study = study.model_copy(update={"network": network})
            check_federated(study, path.name)
            return study if federation_digest(study) == digest else None
        except InputError:
            return None


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def packages_of(study: Study) -> tuple[str, ...]:
    """Packages of others that the study names its choices from: their values may travel."""
    names = [study.training.sampling.name]
    for own in study.methods.values():
        names += [own.algorithm.name, own.weighting.name, own.loss.name]
        names += [choice.name for choice in (own.head, own.compression) if choice is not None]
    return tuple(dict.fromkeys(name.partition(".")[0] for name in names if "." in name))


def load_choices(study: Study) -> None:
    """Import every choice of a study: only what is loaded can be read from a message."""
    for name, settings in study.methods.items():
        assembly.method_of(name, settings)
    assembly.make("samplings", study.training.sampling)
