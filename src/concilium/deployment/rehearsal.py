"""What a study would send from a hospital, measured: the study over a few invented exams.

Every answer is encoded as it would be for its way, and counted by kind. The invented exams have the
hospital's size of input and the study's labels, so an answer is as long as a real one; only sets of
labels, which are counted one by one, grow with the exams.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from concilium import __version__
from concilium.data.dataset import Exams, Form
from concilium.data.splits import PARTS
from concilium.deployment.allowed import packages_of
from concilium.federation.messages import Broadcast, Update
from concilium.federation.questions import Answer, Introduction
from concilium.federation.requests import Request
from concilium.federation.wire import encode
from concilium.foundation.seeds import numpy_generator
from concilium.labels.schema import LabelSchema
from concilium.orchestration.observers import silent
from concilium.runtimes.contract import Runtime, Simulation
from concilium.runtimes.in_process import InProcess
from concilium.studies import assembly, hospitals
from concilium.studies.bench import Bench, Hands, Job, Kept, Parts
from concilium.studies.configuration import Study
from concilium.studies.run import do_job

A = TypeVar("A")

EXAMS = 24
"""Invented exams of a part: enough for every label to be present and absent."""

UPDATE = Broadcast.__name__
"""The kind of an update, which is the answer to a broadcast."""


@dataclass
class Sent:
    """What was sent of one kind in one training: how often, and the bytes of the longest."""

    times: int = 0
    most_bytes: int = 0

    def add(self, num_bytes: int) -> None:
        """Count one more."""
        self.times += 1
        self.most_bytes = max(self.most_bytes, num_bytes)


@dataclass
class Counting(Runtime):
    """A runtime that passes everything on, and counts what comes back. Final."""

    inner: Simulation
    also: Sequence[str]
    sent: dict[str, Sent] = field(default_factory=dict)

    @property
    def clients(self) -> tuple[str, ...]:
        return self.inner.clients

    @property
    def client_states(self) -> Any:
        return self.inner.client_states

    def restore(self, states: Any) -> None:
        self.inner.restore(states)

    def recall(self, history: Any) -> None:
        self.inner.recall(history)

    def train(self, broadcast: Broadcast, cohort: Sequence[str]) -> Iterator[tuple[str, Update]]:
        yield from self._counted(UPDATE, self.inner.train(broadcast, cohort))

    def ask(self, request: Request[A], cohort: Sequence[str]) -> Iterator[tuple[str, A]]:
        yield from self._counted(type(request).__name__, self.inner.ask(request, cohort))

    def _counted(self, kind: str, answers: Iterator[tuple[str, A]]) -> Iterator[tuple[str, A]]:
        for name, value in answers:
            num_bytes = len(encode(Answer(0, name, value), self.also))
            if isinstance(value, Update) and self.inner.compression is not None:
                num_bytes = value.num_bytes  # it travels in its small form
            self.sent.setdefault(kind, Sent()).add(num_bytes)
            yield name, value


def rehearse(study: Study, input_shape: tuple[int, ...]) -> dict[str, dict[str, Sent]]:
    """By method that trains over a federation, by kind of question: what one training sends.

    One round is trained at the first learning rate; all other phases are whole.
    """
    short = study.model_copy(
        update={
            "training": study.training.model_copy(
                update={
                    "rounds": min(1, study.training.rounds),
                    "learning_rates": study.training.learning_rates[:1],
                    "local_epochs": 1,
                    "participation": 1.0,
                }
            )
        }
    )
    form = Form(LabelSchema(study.data.labels), input_shape)
    parts = {"hospital": dict.fromkeys(PARTS, _invented(form))}
    found: dict[str, dict[str, Sent]] = {}
    for method, settings in study.methods.items():
        if settings.trains == "federation":
            sent = found[method] = {"Introduce": _introduced(input_shape)}
            hands = CountingHands(packages_of(short), sent)
            with tempfile.TemporaryDirectory() as run:
                job = Job(method, study.seeds[0])
                do_job(short, job, form, parts, Path(run), silent, hands)
    return found


def _introduced(input_shape: tuple[int, ...]) -> Sent:
    said = Introduction(input_shape, dict.fromkeys(PARTS, True), __version__)
    return Sent(1, len(encode(Answer(0, "hospital", said))))


@dataclass(frozen=True)
class CountingHands(Hands):
    """Runs the hospitals of a bench here, and counts what they send."""

    also: Sequence[str]
    sent: dict[str, Sent]

    def __call__(self, bench: Bench, parts: Parts, learning_rate: float, kept: Kept) -> Runtime:
        """The runtime of one training."""
        return Counting(_over(bench, parts, learning_rate), self.also, self.sent)


def _over(bench: Bench, parts: Parts, rate: float) -> Simulation:
    clients = hospitals.clients_of(
        parts,
        bench.network,
        bench.method,
        assembly.training_of(bench.study, rate),
        bench.job.seed,
        lambda _: bench.at_home,
    )
    method = bench.method
    return InProcess().over(clients, method.algorithm, method.weighting, method.compression)


def _invented(form: Form) -> Exams:
    """Noise for images, and labels of which every one is on half of the exams."""
    generator = numpy_generator(0, "rehearsal")
    labels = np.arange(EXAMS)[:, None] // (1 + np.arange(len(form.schema)) % 4) % 2
    shape = form.input_shape
    if len(shape) > 1:
        images: Any = generator.integers(0, 256, (EXAMS, *shape[1:]), np.uint8)
    else:
        images = generator.normal(size=(EXAMS, *shape)).astype(np.float32)
    known = np.ones(labels.shape, np.bool_)
    return Exams(images, labels.astype(np.float32), known, np.arange(EXAMS))
