"""Features of a frozen encoder as files, one a hospital: what a hospital without a GPU works on.

A file holds ``features`` (N, d) float32, ``labels`` (N, L) int8 of ``labels.states.State``,
``known`` (N, L) bool (the label is present or absent), ``label_names`` (L,), ``patient`` (N,),
``part`` (N,) and ``hospital`` (N,). Patients are numbered anew in each hospital, in order of
appearance: no identifier of the data gets here. There is no ``patient`` where the data tell none.
``sources/feature_table`` reads the files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import PATIENTS, Dataset
from concilium.data.rows import join
from concilium.data.table import patient_codes
from concilium.foundation.errors import Problem, StudyError
from concilium.foundation.files import file_name, write_atomically
from concilium.labels.states import State
from concilium.studies import assembly, hospitals
from concilium.studies.configuration import Study
from concilium.studies.division import Division, divide
from concilium.studies.extraction import encode, with_features

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class HospitalFeatures:
    """The features of one hospital, as they are written."""

    hospital: str
    arrays: Arrays

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{file_name(self.hospital)}.npz"

    @property
    def content(self) -> bytes:
        """The archive."""
        buffer = io.BytesIO()
        np.savez(buffer, **self.arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


def extract(study: Study, cache: Path) -> list[HospitalFeatures]:
    """Features of every hospital of a study's first seed, by its network's encoder, frozen.

    Raises StudyError for data that are features already.
    """
    network = study.network.model_copy(update={"frozen": False})
    dataset = assembly.load_data(study.model_copy(update={"network": network}), cache)
    if len(dataset.input_shape) == 1:
        what = "the data are features already: there is nothing to extract"
        raise StudyError(Problem("data.source", what, "use them in a study as they are"))
    division = divide(dataset, study, study.seeds[0])
    features = _features(study, dataset, division, cache)
    return [
        HospitalFeatures(name, {"features": features[k], **_labels(dataset, division, k)})
        for k, name in enumerate(division.partition.clients)
    ]


def _features(
    study: Study, dataset: Dataset, division: Division, cache: Path
) -> list[npt.NDArray[np.float32]]:
    """Features of each hospital's images, as its own machines would have taken them."""
    encoder = assembly.encoder_of(study, dataset.form)
    if division.partition.acquisition:
        parts = hospitals.parts_of(dataset, division, assembly.policy_of(study))
        images = (join([own[part].images for part in division.parts]) for own in parts.values())
        return [encode(encoder, own) for own in images]
    settings = study.network.architecture.model_dump_json()
    whole = np.asarray(with_features(dataset, encoder, settings, cache).images, np.float32)
    return [whole[_rows(division, k)] for k in range(len(division.partition.clients))]


def _rows(division: Division, client: int) -> npt.NDArray[np.intp]:
    """All rows of a hospital, part after part."""
    return np.concatenate([division.rows(client, part) for part in division.parts])


def _labels(dataset: Dataset, division: Division, client: int) -> Arrays:
    """All but the features: what a hospital does not annotate is unknown outside its test part."""
    table, rows = dataset.table, _rows(division, client)
    parts = [division.parts[part] for part in division.split.part[rows].tolist()]
    silent = ~division.partition.annotated[client] & (np.array(parts)[:, None] != "test")
    states = np.where(silent, np.int8(State.UNKNOWN), table.states[rows])
    name = division.partition.clients[client]
    codes = patient_codes(table.patient[rows])
    told = {} if PATIENTS in dataset.notes else {"patient": [f"{name}/{code}" for code in codes]}
    return {
        "labels": states,
        "known": states != State.UNKNOWN,
        "label_names": np.array(table.schema.names),
        **{array: np.array(patients) for array, patients in told.items()},
        "part": np.array(parts),
        "hospital": np.full(len(rows), name),
    }


def write_features(folder: Path, files: Sequence[HospitalFeatures], like: Study) -> Path:
    """Write all files, and a study that trains exact heads on them; the study's path.

    Raises StudyError for a folder that holds archives already: they would be mixed.
    """
    check_empty(folder)
    for own in files:
        write_atomically(folder / own.file, own.content)
    study = folder / "study.toml"
    write_atomically(study, study_text(files, like).encode())
    return study


def check_empty(folder: Path) -> None:
    """Raise StudyError for a folder that holds archives, or is none."""
    if folder.exists() and not folder.is_dir():
        raise StudyError(Problem(str(folder), "is a file", "name a folder with --out"))
    if any(folder.glob("*.npz")):
        what = "holds .npz files already, which would be mixed with the new ones"
        raise StudyError(Problem(str(folder), what, "name an empty folder with --out"))


def study_text(files: Sequence[HospitalFeatures], like: Study) -> str:
    """A study file on these features: hospitals, parts, policies and measures as in ``like``.

    Its models are exact heads, from sums alone.
    """
    names = _toml([own.file for own in files])
    data, measured = like.data, like.evaluation
    return f"""# concilium run study.toml
title = {_toml(f"{like.title}: exact heads on frozen features")}

[data]
source = {{name = "feature_table", file = {names}, covariates = ["part"]}}
uncertain = {_toml(data.uncertain)}
soft_target = {_toml(data.soft_target)}
unknown_as_negative = {_toml(data.unknown_as_negative)}

[split]
partitioner = "by_hospital"
column = "part"

[network]
architecture = "linear"

[training]
rounds = 0

[methods.concilium]
[methods.pooled_exact]

[evaluation]
specificity = {_toml(measured.specificity)}
label_sets = {_toml(measured.label_sets)}
rare_labels = {_toml(measured.rare_labels)}
head = {_toml(measured.head)}
tail = {_toml(measured.tail)}
min_positives = {_toml(measured.min_positives)}
bootstrap = {_toml(measured.bootstrap)}
"""


def _toml(value: object) -> str:
    """Text, numbers, truth values and lists of them are written in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=False)
