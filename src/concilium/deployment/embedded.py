"""The same study over the hospitals of folders on this machine, without a carrier in between.

What a federation is compared with: the clients are those that the sites of these folders build,
with their secrets, the runtime is a simulation's. Every round's model is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from concilium.data.dataset import Form
from concilium.deployment.allowed import check_federated, federation_digest
from concilium.deployment.holdings import Holdings
from concilium.deployment.policy import read_hospital
from concilium.foundation.errors import StudyError
from concilium.foundation.files import write_json
from concilium.labels.schema import LabelSchema
from concilium.studies.bench import Job, Parts, simulated
from concilium.studies.configuration import Study
from concilium.studies.run import (
    JobObserver,
    do_job,
    jobs_of,
    open_folder,
    prepare_process,
    read_results,
    unfinished,
)


def run_embedded(
    study: Study, text: str, run: Path, folders: Sequence[Path], observer: JobObserver
) -> list[dict[str, Any]]:
    """Run the jobs of a study that train over a federation, as ``run_federation`` does elsewhere.

    Raises StudyError for a study that is none for a federation.
    """
    prepare_process()
    check_federated(study, "study")
    digest = federation_digest(study)
    holdings = {read_hospital(folder).name: _holdings(folder) for folder in folders}
    shapes = {own.dataset(study, digest)[0].input_shape for own in holdings.values()}
    if len(shapes) != 1:
        raise StudyError(f"the inputs of hospitals differ: {sorted(shapes)}")
    form = Form(LabelSchema(study.data.labels), shapes.pop())
    open_folder(study, text, run, resume=True)
    jobs = [job for job in jobs_of(study) if study.methods[job.method].trains == "federation"]

    def parts(job: Job) -> Parts:
        found = sorted(holdings.items())
        return {name: own.parts(study, digest, job.seed, job.fold) for name, own in found}

    hands = partial(simulated, secrets={name: own.secret() for name, own in holdings.items()})
    for job in unfinished(run, jobs):
        do_job(study, job, form, parts(job), run, partial(observer, job), hands)
    results = read_results(run, jobs)
    write_json(run / "results.json", results)
    return results


def _holdings(folder: Path) -> Holdings:
    return Holdings(folder, read_hospital(folder))
