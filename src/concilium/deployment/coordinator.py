"""A study over hospitals elsewhere, into the run folder that a simulation would write.

introductions → for each method, seed and fold a job (statistics → rounds → consolidation →
calibration → evaluation), as ``studies/job`` does it anywhere → results.json, federation.json

The same command again goes on from the last committed round. What trains alone or pooled cannot be
trained here, and is left out by name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from concilium import __version__
from concilium.algorithms.fedavg import FedAvg
from concilium.data.dataset import NO_PATIENTS, PATIENTS, Exams, Form
from concilium.data.splits import PARTS
from concilium.deployment.allowed import check_federated, federation_digest, packages_of
from concilium.deployment.ledger import Ledger
from concilium.federation.questions import Introduce, Introduction, Work
from concilium.federation.requests import StatisticsRequest
from concilium.foundation.errors import FederationError
from concilium.foundation.files import locked, write_json
from concilium.labels.schema import LabelSchema
from concilium.orchestration.carriers import Carrier, Terms
from concilium.orchestration.exchange import Exchange, numbers
from concilium.orchestration.gathering import Clock
from concilium.orchestration.observers import Warned
from concilium.orchestration.phases import asking
from concilium.runtimes.contract import Runtime
from concilium.runtimes.in_process import InProcess
from concilium.studies import assembly, hospitals
from concilium.studies.bench import Bench, Job, Kept, Parts
from concilium.studies.configuration import Study, digest_of
from concilium.studies.run import (
    JobObserver,
    check_folder,
    do_job,
    held_by_another,
    jobs_of,
    open_folder,
    prepare_process,
    read_results,
    unfinished,
)
from concilium.weightings.by_images import ByImages


def run_federation(
    study: Study,
    text: str,
    run: Path,
    carrier: Carrier,
    terms: Terms,
    resume: bool,
    observer: JobObserver,
    clock: Clock = time.monotonic,
) -> list[dict[str, Any]]:
    """Run every job that is not finished yet; the results of all of them, in order.

    ``study`` as ``read_federated`` gives it, ``text`` its file. Raises StudyError for a study that
    cannot be run over a federation, or for a folder that holds another run, and FederationError,
    which names everybody, where too few hospitals answer, or their inputs differ.
    """
    prepare_process()
    check_federated(study, "study")
    check_folder(study, run, resume)
    digest = federation_digest(study)
    with locked(run, held_by_another(run)):
        check_folder(study, run, resume)  # another may have held it in between
        ledger = Ledger.of(run, digest)
        open_folder(study, text, run, resume)
        ledger.close(terms, carrier.hospitals, ledger.input_shape)
        table = Table(study, carrier, terms, ledger, clock)
        jobs, left_out = _jobs(study)
        form, said = table.introductions(jobs[0])
        ledger.close(terms, carrier.hospitals, form.input_shape, left_out)
        if not (run / "data.json").exists():
            write_json(run / "data.json", table.describe(jobs[0], form, said))
        for name, why in left_out.items():
            observer(jobs[0], Warned(f"{name} is left out: {why}"))
        nobody_here: Parts = {name: {} for name in carrier.hospitals}
        try:
            for job in unfinished(run, jobs):
                do_job(study, job, form, nobody_here, run, partial(observer, job), table.runtime)
        finally:
            ledger.close(terms, carrier.hospitals, form.input_shape, left_out)
        results = read_results(run, jobs)
        write_json(run / "results.json", results)
        return results


def _jobs(study: Study) -> tuple[list[Job], dict[str, str]]:
    """The jobs that hospitals elsewhere can do, and why they cannot do the other methods."""
    reasons = {
        "pooled": "it pools exams, which do not leave their hospitals",
        "hospitals": "it trains every hospital alone: run it there",
    }
    left_out = {
        name: reasons[own.trains]
        for name, own in study.methods.items()
        if own.trains != "federation"
    }
    return [job for job in jobs_of(study) if job.method not in left_out], left_out


@dataclass(frozen=True)
class Table:
    """The table at which a study's hospitals sit: whom to ask, on which terms, for which run."""

    study: Study
    carrier: Carrier
    terms: Terms
    ledger: Ledger
    clock: Clock
    _counter: Iterator[int] = field(default_factory=numbers)

    def runtime(self, bench: Bench, parts: Parts, learning_rate: float, kept: Kept) -> Exchange:
        """The hospitals of a job in one training, with what of it they have counted so far."""
        exchange = self._exchange(bench.job, learning_rate, _nobody(bench, learning_rate))
        exchange.recall(kept.history)
        return exchange

    def introductions(self, job: Job) -> tuple[Form, dict[str, Introduction]]:
        """The form of the data that all who answer agree on, and what each says of itself.

        Raises FederationError where inputs differ, or too few answer.
        """
        agreed = self.ledger.input_shape
        what = Introduce(self.study.data.labels, agreed, __version__)
        nobody = InProcess().over((), FedAvg(), ByImages())
        said = self._exchange(job, self._first_rate, nobody).introduce(what)
        shapes = {own.input_shape for own in said.values()}
        if len(shapes) > 1:
            lines = "\n".join(f"  - {name}: {own.input_shape}" for name, own in said.items())
            raise FederationError(
                f"the inputs of hospitals differ:\n{lines}\n  give all of them the same size, in "
                "`source` of their hospital.toml"
            )
        return Form(LabelSchema(self.study.data.labels), shapes.pop()), said

    def describe(self, job: Job, form: Form, said: Mapping[str, Introduction]) -> dict[str, Any]:
        """What the data of all hospitals are, as ``data.json`` holds it; counts are sums."""
        bench = Bench.of(self.study, job, form, {}, self.ledger.run, lambda _: None, self.runtime)
        ask = asking(bench.runtime({}, self._first_rate))
        counts = [ask(StatisticsRequest(part)) for part in PARTS]
        notes = {"hospitals": f"{len(said)} of {len(self.carrier.hospitals)} introduced themselves"}
        if any(PATIENTS in own.details for own in said.values()):
            notes[PATIENTS] = f"{NO_PATIENTS} at one hospital or more"
        return {
            "title": f"exams of {len(said)} hospitals, which stay there",
            "synthetic": any("synthetic" in own.details for own in said.values()),
            "images": sum(own.num_images for own in counts),
            "patients": sum(own.num_patients for own in counts),
            "input_shape": list(form.input_shape),
            "labels": list(form.schema.names),
            "label_policy": assembly.policy_of(self.study).describe(),
            "notes": notes,
            "digest": digest_of([form.schema.names, form.input_shape]),
        }

    @property
    def _first_rate(self) -> float:
        return self.study.training.learning_rates[0]

    def _exchange(self, job: Job, learning_rate: float, nobody: Runtime) -> Exchange:
        own = self.ledger
        work = Work(own.study, job.method, job.seed, job.fold, learning_rate, own.id)
        return Exchange(
            self.carrier,
            work,
            self.terms,
            nobody,
            note=own.note,
            clock=self.clock,
            counter=self._counter,
            also=packages_of(self.study),
            arithmetic=self.study.training.sum,
        )


def _nobody(bench: Bench, learning_rate: float) -> Runtime:
    """A runtime of one hospital without an exam: what it answers is the form of every answer."""
    shape, labels = bench.form.input_shape, np.zeros((0, len(bench.form.schema)), np.float32)
    is_image = len(shape) > 1
    images = np.zeros((0, *shape[1:]), np.uint8) if is_image else np.zeros((0, *shape), np.float32)
    nothing = Exams(images, labels, labels > 0, np.zeros(0, np.int64))
    method = bench.method
    clients = hospitals.clients_of(
        {"nobody": dict.fromkeys(PARTS, nothing)},
        bench.network,
        method,
        assembly.training_of(bench.study, learning_rate),
        bench.job.seed,
        lambda _: bench.at_home,
    )
    return InProcess().over(clients, method.algorithm, method.weighting, method.compression)
