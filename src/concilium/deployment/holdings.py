"""What a hospital holds for a study: its data set, its parts, and the client over them.

Everything is made when it is first asked for, from the hospital's own files, and kept while the
next questions need it. Parts are those that an embedded run would make of the same table; patients
are dealt out by a seed of the study's seed and the hospital's name.

    bootstrap.key     32 random bytes, made when first needed: the patients' weights hang on them
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from concilium.data.dataset import Dataset, Exams
from concilium.deployment.allowed import NOT_DEALT
from concilium.deployment.policy import Hospital
from concilium.federation.client import Client
from concilium.federation.questions import Work
from concilium.federation.sharing import private
from concilium.foundation.cores import num_cores
from concilium.foundation.errors import ConciliumError, DataError
from concilium.foundation.seeds import derive_seed
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study
from concilium.studies.division import divide

CACHE, SECRET = "cache", "bootstrap.key"

SECRET_BYTES = 32

V = TypeVar("V")


class TooFewPatientsError(ConciliumError):
    """A part of the hospital's exams is below what its policy asks for."""


@dataclass(frozen=True)
class _Last(Generic[V]):
    """The last few values, by what they were made of."""

    most: int
    _values: dict[Any, V] = field(default_factory=dict)

    def get(self, key: Any) -> V | None:
        if key not in self._values:
            return None
        value = self._values[key] = self._values.pop(key)
        return value

    def put(self, key: Any, value: V) -> V:
        while len(self._values) >= self.most:
            del self._values[next(iter(self._values))]
        self._values[key] = value
        return value


@dataclass(frozen=True)
class Holdings:
    """The exams of a hospital, as its studies need them."""

    folder: Path
    hospital: Hospital
    _datasets: _Last[tuple[Dataset, str]] = field(default_factory=lambda: _Last(2))
    _parts: _Last[Mapping[str, Exams]] = field(default_factory=lambda: _Last(2))
    _clients: _Last[tuple[Client, assembly.Method]] = field(default_factory=lambda: _Last(4))

    def dataset(self, study: Study, digest: str) -> tuple[Dataset, str]:
        """The data set of a study (of this digest), and the digest of the data.

        Raises InputError where files cannot be read, or do not have the study's labels.
        """
        found = self._datasets.get(digest)
        if found is None:
            source, cache = self.hospital.data.source, self.folder / CACHE
            read = self.hospital.in_its_words(assembly.make("sources", source).load(cache))
            dataset = assembly.prepared(study, read, cache)
            found = self._datasets.put(digest, (dataset, dataset.digest()))
        return found

    def parts(self, study: Study, digest: str, seed: int, fold: int) -> Mapping[str, Exams]:
        """The exams by part at a seed and fold.

        Raises TooFewPatientsError where the policy, or the split, asks for more patients than a
        part has.
        """
        key = digest, seed, fold
        found = self._parts.get(key)
        if found is None:
            dataset, _ = self.dataset(study, digest)
            found = self._parts.put(key, self._divided(dataset, study, seed, fold))
        return found

    def _divided(self, dataset: Dataset, study: Study, seed: int, fold: int) -> Mapping[str, Exams]:
        """As a simulation divides the exams of one hospital; every part of enough patients."""
        own = study.model_copy(update={"split": study.split.model_copy(update=NOT_DEALT)})
        try:
            division = divide(dataset, own, derive_seed(seed, "hospital", self.hospital.name), fold)
        except DataError:
            raise TooFewPatientsError from None
        (parts,) = hospitals.parts_of(dataset, division, assembly.policy_of(study)).values()
        for name, exams in parts.items():
            if len(exams) or _asked_for(study, name):
                self._check_enough(exams)
        return parts

    def _check_enough(self, exams: Exams) -> None:
        if len(np.unique(exams.patient)) < self.hospital.policy.least_patients:
            raise TooFewPatientsError

    def secret(self) -> bytes:
        """The hospital's secret; it never leaves. Raises DataError for a damaged file."""
        path = self.folder / SECRET
        if not path.exists():
            _write_secret(path)
        found = path.read_bytes()
        if len(found) != SECRET_BYTES:
            raise DataError(f"{SECRET} must hold {SECRET_BYTES} bytes: remove it")
        return found

    def client(self, study: Study, work: Work) -> tuple[Client, assembly.Method]:
        """The hospital's client in a training, with its tensors that stay at home as they begin."""
        key = work.study, work.method, work.seed, work.fold, work.learning_rate
        found = self._clients.get(key)
        if found is None:
            found = self._clients.put(key, self._client(study, work))
        return found

    def _client(self, study: Study, work: Work) -> tuple[Client, assembly.Method]:
        dataset, _ = self.dataset(study, work.study)
        parts = self.parts(study, work.study, work.seed, work.fold)
        method = assembly.method_of(work.method, study.methods[work.method])
        network = assembly.network_of(study, dataset.form, work.seed)
        training = assembly.training_of(study, work.learning_rate)
        cores = study.cores_of_a_job(num_cores())
        at_home = private(network, method.settings.shares)
        (client,) = hospitals.clients_of(
            {self.hospital.name: parts},
            network,
            method,
            replace(training, spare_core=cores > 1),
            work.seed,
            lambda _: at_home,
        )
        return replace(client, secret=self.secret()), method


def _write_secret(path: Path) -> None:
    """Write a new secret that only its owner can read; where another process was first, its one."""
    neighbour = path.with_name(f".{SECRET}.{secrets.token_hex(8)}")
    descriptor = os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)


def _asked_for(study: Study, part: str) -> bool:
    """Whether a study's split gives a part exams."""
    own = study.split
    if own.column or own.folds > 1:
        return part != "validation" or own.fractions[1] > 0
    return own.fractions[("train", "validation", "test").index(part)] > 0
