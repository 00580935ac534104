"""``hospital.toml``: who a hospital is, where its exams are, and what it allows.

The file never leaves the hospital, and its word is last: a study says nothing of where exams are,
and cannot lower what the policy asks for. Relative paths start at the hospital's folder.

    name = "north"

    [data]
    source = {name = "image_folder", table = "labels.csv", images = "images"}

    [data.labels]             # only where names differ: the study's name = the name in our files
    Effusion = "Pleural effusion"

    [policy]
    least_patients = 20
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from concilium.data.dataset import Dataset
from concilium.foundation import components
from concilium.foundation.checks import suggestion
from concilium.foundation.errors import InputError, LabelError, Problem, StudyError
from concilium.labels.schema import LabelSchema
from concilium.labels.states import State
from concilium.studies.assembly import with_source_paths
from concilium.studies.configuration import Named, Settings

FILE = "hospital.toml"

SMALLEST_PART = 10
"""Patients of a part below which nobody answers: a hospital may ask for more, never for less."""

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/\\]+$")]


class OwnData(Settings):
    """``[data]``: where the exams are, and how their labels are called.

    ``labels``: the study's name = the name in the files, where they differ.
    ``never_annotated`` are labels of studies that nobody here looks for: they are unknown on every
    exam, not absent.
    """

    source: Named
    labels: dict[str, str] = Field(default_factory=dict)
    never_annotated: tuple[str, ...] = ()


class Rules(Settings):
    """``[policy]``: what the hospital asks for before it answers.

    ``least_patients``: every part (training, validation, test) has as many, or nothing is said.
    """

    least_patients: int = Field(SMALLEST_PART, ge=SMALLEST_PART)


class Hospital(Settings):
    """A hospital's own file."""

    name: Name
    data: OwnData
    policy: Rules = Rules()

    def in_its_words(self, dataset: Dataset) -> Dataset:
        """The data set with the label names of studies, and those that are never annotated.

        Raises LabelError with every label of ``[data.labels]`` that the files do not have.
        """
        schema = dataset.table.schema
        renamed, problems = list(schema.names), []
        for wanted, own in self.data.labels.items():
            place = schema.find(own)
            if place is None:
                known = (*schema.names, *schema.aliases)
                where = f"{FILE}, data.labels.{wanted}"
                problems.append(Problem(where, f"unknown label {own!r}", suggestion(own, known)))
            else:
                renamed[place] = wanted
        if problems:
            raise LabelError(problems)
        return self._with_unknown(dataset, renamed)

    def _with_unknown(self, dataset: Dataset, names: Sequence[str]) -> Dataset:
        """The data set under these names, and a column of unknowns for each label never given."""
        table = dataset.table
        silent = [own for own in self.data.never_annotated if own not in names]
        states = table.states.copy()
        states[:, [names.index(own) for own in self.data.never_annotated if own in names]] = (
            State.UNKNOWN
        )
        unknown = np.full((len(table), len(silent)), State.UNKNOWN, table.states.dtype)
        renamed = dict(zip(table.schema.names, names, strict=True))
        aliases = {alias: renamed[own] for alias, own in table.schema.aliases.items()}
        kept = {alias: own for alias, own in aliases.items() if alias not in (*names, *silent)}
        schema = LabelSchema((*names, *silent), kept)
        states = np.concatenate([states, unknown], axis=1)
        return replace(dataset, table=replace(table, schema=schema, states=states))


def read_hospital(folder: Path) -> Hospital:
    """The file of a hospital's folder, its paths absolute. Raises StudyError with all mistakes."""
    path = folder / FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "give a hospital's folder, or make one with `concilium federation init`"
        raise StudyError(Problem(str(path), "there is no such file", remedy)) from None
    except OSError as error:
        raise StudyError(Problem(str(path), f"cannot be read ({error.strerror})")) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(Problem(str(path), f"is not TOML: {error}")) from None
    return parse_hospital(content, folder)


def parse_hospital(content: dict[str, Any], folder: Path) -> Hospital:
    """A hospital from plain values; raises StudyError with every mistake in them at once."""
    try:
        hospital = Hospital.model_validate(content)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
        raise StudyError([*problems, *_problems_of_source(content, folder)]) from None
    problems = _problems_of_source(content, folder)
    if problems:
        raise StudyError(problems)
    source = with_source_paths(hospital.data.source, folder.absolute())
    return hospital.model_copy(update={"data": hospital.data.model_copy(update={"source": source})})


def _problems_of_source(content: dict[str, Any], folder: Path) -> list[Problem]:
    """What is wrong with the source, also where something else is wrong with the file."""
    try:
        source = OwnData.model_validate({"source": content["data"]["source"]}).source
    except (KeyError, TypeError, ValidationError):
        return []  # said already
    try:
        placed = with_source_paths(source, folder.absolute())
        components.build("sources", placed.name, placed.settings)
    except InputError as error:
        where = f"{FILE}, data.source"
        return [
            replace(p, where=f"{where}: {p.where}" if p.where else where) for p in error.problems
        ]
    return []


def _problem(item: Any) -> Problem:
    """One of pydantic's errors in a user's words."""
    place = tuple(map(str, item["loc"]))
    where = f"{FILE}, {'.'.join(place)}"
    if item["type"] == "extra_forbidden":
        return Problem(where, "unknown key", suggestion(place[-1], _keys(place)))
    if item["type"] == "missing":
        return Problem(where, "is missing", "add it")
    if place[-1] == "least_patients" and item["type"] == "greater_than_equal":
        remedy = "leave it out, or ask for more"
        what = f"{item['input']!r} is below {SMALLEST_PART}, the least of every federation"
        return Problem(where, what, remedy)
    what = item["msg"].removeprefix("Value error, ")
    return Problem(where, f"{what} (given: {item['input']!r})", _remedy(place))


def _remedy(place: Sequence[str]) -> str:
    if place == ("name",):
        return "give a short name without slashes; the federation knows the hospital by it"
    return "see the example in docs/deployment.md"


def _keys(place: Sequence[str]) -> tuple[str, ...]:
    """The keys that are known where an unknown one stands."""
    tables: dict[str, type[Settings]] = {"data": OwnData, "policy": Rules}
    table = tables.get(place[0], Hospital) if len(place) > 1 else Hospital
    return tuple(table.model_fields)
