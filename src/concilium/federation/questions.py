"""What a coordinator asks a hospital elsewhere, and what comes back: the envelope of a message.

A question says which training of which study it belongs to; the hospital decides by that whether it
answers. Of what goes wrong at a hospital only a code leaves it, never the text of an error, in
which a path or a patient's number could stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from concilium.federation.messages import Broadcast
from concilium.federation.requests import Request
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics

LONGEST_NAME = 200
"""Of what the envelope names, in characters."""


@dataclass(frozen=True)
class Work:
    """Which training of which study: what a hospital's client and its memory hang on.

    ``study`` is the digest of the study, ``run`` the random id of the coordinator's run folder.
    ``learning_rate`` is that of this training, among those that a study tries.
    """

    study: str
    method: str
    seed: int
    fold: int
    learning_rate: float
    run: str


@dataclass(frozen=True)
class Introduce:
    """Who are you? The labels that the study has, by name, and the coordinator's version.

    ``input_shape`` is that of an image or a feature row; empty: not known yet.
    """

    labels: tuple[str, ...]
    input_shape: tuple[int, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class Introduction:
    """What a hospital says of itself before anything is computed: no count of patients or images.

    ``enough`` are the parts ("train", …) that hold as many patients as its policy and the study
    ask for; ``details`` other plain words that both sides agree on.
    """

    input_shape: tuple[int, ...]
    enough: Mapping[str, bool]
    version: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """One question to one hospital.

    ``number`` is that of the exchange, unique in a run folder; it comes back with the answer.
    ``counted`` is how many rounds of this training the server had done when this hospital's update
    was last added up, 0 if it never was: what the hospital remembers is that of then.
    """

    work: Work
    number: int
    hospital: str
    counted: int
    what: Broadcast | Request[Any] | Introduce


@dataclass(frozen=True)
class Answer:
    """A hospital's answer: an ``Update``, what its request asks for, or an ``Introduction``."""

    number: int
    hospital: str
    value: Any


@dataclass(frozen=True)
class Refusal:
    """A hospital does not answer. ``code`` is one of ``CODES``, whatever happened there."""

    number: int
    hospital: str
    code: str


CODES: Mapping[str, str] = {
    "unknown_study": "this study is not among those that the hospital allows: its people must "
    "read the study file and allow it",
    "not_for_me": "the question is for another hospital: check which name belongs to which key",
    "unreadable": "the question could not be read there: both sides need the same version",
    "version": "another version of concilium runs there: install the coordinator's",
    "other_data": "images or labels there do not fit the study: compare the label mapping and the "
    "input with the study",
    "data_changed": "the data there changed since the run began: begin a new run",
    "no_data": "the data could not be read there: its log says where",
    "too_few_patients": "a part holds fewer patients than the hospital's policy or the study asks "
    "for: leave the hospital out, or merge it with another",
    "too_few_hospitals": "fewer hospitals take part than the hospital's policy asks for",
    "policy": "the hospital's policy does not allow this question",
    "memory_lost": "what the hospital remembers of this training is not there any more: begin a "
    "new run",
    "diverged": "the training there is no longer finite: lower the learning rate",
    "out_of_memory": "the memory there does not suffice: lower the batch size or the input size",
    "disk_full": "the disk there is full",
    "failed": "something failed there: its own log says what",
}
"""What a refusal means, and the remedy, by its code."""


def meaning(code: str) -> str:
    """The sentence of a code; one that nobody knows is not repeated, for a hospital chose it.

    >>> meaning("disk_full")
    'the disk there is full'
    """
    return CODES.get(code, "it gave a reason that this version does not know")


def is_question(value: object) -> bool:
    """Whether a value from elsewhere is a question, each field of exactly its type.

    3.0 equals 3, and would be another seed of randomness: what decides which exams are looked at
    must not come in two forms.
    """
    return (
        type(value) is Question
        and _is_work(value.work)
        and is_number(value.number)
        and is_number(value.counted)
        and _is_name(value.hospital)
        and _is_what(value.what)
    )


def is_number(value: object) -> bool:
    """Whether it is a whole number ≥ 0 of at most 63 bits, as all of an envelope are."""
    return type(value) is int and 0 <= value < 2**63


def _is_work(work: object) -> bool:
    return (
        type(work) is Work
        and all(map(_is_name, (work.study, work.method, work.run)))
        and type(work.seed) is type(work.fold) is int
        and type(work.learning_rate) is float
    )


def _is_name(text: object) -> bool:
    return type(text) is str and len(text) <= LONGEST_NAME


def _is_what(what: object) -> bool:
    match what:
        case Broadcast():
            return (
                type(what.round) is int
                and isinstance(what.model, NamedTensors)
                and isinstance(what.extras, NamedTensors)
                and (what.label_statistics is None or _is_statistics(what.label_statistics))
                and type(what.pace) is float
                and 0 < what.pace < math.inf
            )
        case Introduce():
            return (
                isinstance(what.labels, tuple)
                and isinstance(what.input_shape, tuple)
                and all(type(name) is str for name in what.labels)
                and all(type(length) is int for length in what.input_shape)
                and type(what.version) is str
            )
    return isinstance(what, Request)


def _is_statistics(value: object) -> bool:
    return type(value) is LabelStatistics and (
        type(value.num_images) is type(value.num_patients) is int
        and all(
            type(counts) is np.ndarray and counts.dtype == np.int64 and counts.ndim == 2
            for counts in (value.both_known, value.both_present, value.present_and_known)
        )
    )
