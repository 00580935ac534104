"""A hospital: one object that answers letters, whatever stands in them.

    letter ─→ read ─→ for me? ─→ a study that we allow? ─→ enough patients? ─→ client ─→ answer
                │         │                │                      │              │
                └─────────┴────────────────┴──────────────────────┴──────────────┴─→ a code

Of what goes wrong a code leaves the hospital. Type and place of the error stand in its own log,
never the error's text: a path or a patient's number may be in it.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from concilium import __version__
from concilium.compressions.contract import Encoded
from concilium.data.dataset import NO_PATIENTS, PATIENTS, Dataset
from concilium.deployment.allowed import Allowed, load_choices, packages_of
from concilium.deployment.bounds import MOST_BOOTSTRAPS, check_request
from concilium.deployment.diary import Diary
from concilium.deployment.holdings import Holdings
from concilium.deployment.memory import Memory
from concilium.deployment.policy import read_hospital
from concilium.deployment.refusals import RefusedError, because, code_of
from concilium.federation.client import Client
from concilium.federation.messages import Broadcast, Update
from concilium.federation.questions import (
    Answer,
    Introduce,
    Introduction,
    Question,
    Refusal,
    Work,
    is_question,
)
from concilium.federation.requests import BootstrapRequest
from concilium.federation.states import ClientState
from concilium.federation.wire import decode, encode
from concilium.foundation import components
from concilium.foundation.errors import (
    DataError,
    InputError,
    WireError,
)
from concilium.labels.statistics import LabelStatistics
from concilium.runtimes._turns import Answering, Training
from concilium.studies.assembly import Method
from concilium.studies.configuration import Study
from concilium.studies.run import prepare_process

UNREAD = -1
"""The number in the refusal of a letter that could not be read."""


class Site:
    """The hospital of a folder. Final.

    One letter is answered at a time. Raises StudyError, with every mistake, for a folder whose
    ``hospital.toml`` cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.hospital = read_hospital(folder)
        self._allowed = Allowed(folder)
        self._holdings = Holdings(folder, self.hospital)
        self._memory = Memory(folder)
        self._diary = Diary(folder)
        self._lock = threading.Lock()
        self._loaded: set[str] = set()
        self._statistics: LabelStatistics | None = None

    def answer(self, letter: bytes) -> bytes:
        """The answer to a letter, or a refusal with a code; never raises an error."""
        with self._lock:
            number, kind = UNREAD, "a letter"
            try:
                question = self._read(letter)
                number, kind = question.number, type(question.what).__name__
                value = self._answer(question)
                reply = encode(Answer(number, self.hospital.name, value), self._packages())
            except Exception as error:  # whatever it is, a code is all that leaves
                code = code_of(error)
                self._diary.note(f"refused {number} {kind}: {code}{because(error)}")
                return encode(Refusal(number, self.hospital.name, code))
            self._diary.note(f"answered {number} {kind}: {len(reply)} bytes")
            return reply

    def _read(self, letter: bytes) -> Question:
        prepare_process()
        self._load_choices()
        try:
            question: Any = decode(letter, also=self._packages())
        except WireError as error:
            raise RefusedError("unreadable") from error
        if not is_question(question):
            raise RefusedError("unreadable")
        assert isinstance(question, Question)
        return question

    def _answer(self, question: Question) -> Any:
        if question.hospital != self.hospital.name:
            raise RefusedError("not_for_me")
        study = self._study(question.work)
        what = question.what
        if isinstance(what, Introduce):
            return self._introduction(study, question.work, what)
        if not isinstance(what, Broadcast):
            check_request(study, question.work, what)
        client, method = self._client(study, question.work)
        if isinstance(what, Broadcast):
            return self._trained(study, question, client, method)
        if isinstance(what, BootstrapRequest):
            digest = hashlib.sha256(encode(what)).hexdigest()
            if not self._memory.is_asked_for(question.work, digest, MOST_BOOTSTRAPS):
                raise RefusedError("policy")
        state = ClientState()
        if question.counted and method.settings.shares != "all":
            state = self._memory.state(question.work, question.counted)
            client = replace(client, private=state.private)  # as a model is used: with its own
        return Answering(what)(client, state)

    def _study(self, work: Work) -> Study:
        """The study that a question belongs to, among those that are allowed."""
        study = self._allowed.studies().get(work.study)
        if study is None:
            raise RefusedError("unknown_study")
        method = study.methods.get(work.method)
        stands_in_it = (
            method is not None
            and method.trains == "federation"
            and work.seed in study.seeds
            and work.fold in range(max(1, study.split.folds))
            and work.learning_rate in study.training.learning_rates
        )
        if not stands_in_it:
            raise RefusedError("unknown_study")
        return study

    def _introduction(self, study: Study, work: Work, what: Introduce) -> Introduction:
        """What the hospital says of itself, once everything fits."""
        if what.version != __version__:
            raise RefusedError("version")
        if what.labels != study.data.labels:
            raise RefusedError("other_data")
        dataset = self._dataset(study, work)
        if what.input_shape not in ((), dataset.input_shape):
            raise RefusedError("other_data")
        parts = self._holdings.parts(study, work.study, work.seed, work.fold)
        details = {"synthetic": "yes"} if dataset.synthetic else {}
        if PATIENTS in dataset.notes:
            details[PATIENTS] = NO_PATIENTS
        enough = {name: len(exams) > 0 for name, exams in parts.items()}
        return Introduction(dataset.input_shape, enough, __version__, details)

    def _client(self, study: Study, work: Work) -> tuple[Client, Method]:
        self._dataset(study, work)
        return self._holdings.client(study, work)

    def _dataset(self, study: Study, work: Work) -> Dataset:
        """The data set of a study, the same for the whole of a run."""
        try:
            dataset, digest = self._holdings.dataset(study, work.study)
        except DataError as error:
            raise RefusedError("no_data") from error
        except InputError as error:
            raise RefusedError("other_data") from error
        self._memory.check_data(work.run, digest)
        return dataset

    def _trained(
        self, study: Study, question: Question, client: Client, method: Method
    ) -> Update | Encoded:
        """One round's update as it travels; what is remembered is on the disk before it leaves."""
        broadcast = question.what
        assert isinstance(broadcast, Broadcast)
        if not 0 <= broadcast.round < study.training.rounds:
            raise RefusedError("policy")
        work, counted = question.work, question.counted
        state = self._memory.state(work, counted)
        if counted:
            client = replace(client, private=state.private)
        known = self._as_before(broadcast)
        turn = Training(known, method.algorithm, method.weighting, method.compression)
        update, after = turn.sent(client, state)
        every = study.training.checkpoint_every
        self._memory.keep(work, broadcast.round, counted, after, every)
        return update

    def _as_before(self, broadcast: Broadcast) -> Broadcast:
        """The broadcast with the very statistics of the last one where they are equal.

        A client then need not fit its loss to its labels again.
        """
        new, old = broadcast.label_statistics, self._statistics
        if new is not None and old is not None and _equal(new, old):
            return replace(broadcast, label_statistics=old)
        self._statistics = new
        return broadcast

    def _load_choices(self) -> None:
        """Import what may stand in a message: choices of ours, and those that studies name."""
        for digest, study in self._allowed.studies().items():
            if digest not in self._loaded:
                load_choices(study)
                self._loaded.add(digest)
        for kind in ("algorithms", "compressions", "heads", "samplings"):
            for name in components.names(kind):
                components.find(kind, name)

    def _packages(self) -> tuple[str, ...]:
        studies = self._allowed.studies().values()
        return tuple(dict.fromkeys(name for study in studies for name in packages_of(study)))


def _equal(one: LabelStatistics, other: LabelStatistics) -> bool:
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(LabelStatistics))
    return all(np.array_equal(own, its) for own, its in pairs)
