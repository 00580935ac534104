"""The conductor of a run: a study file over a carrier, told of in its folder and in the log."""

from __future__ import annotations

import logging
from pathlib import Path

from concilium.deployment.allowed import read_federated
from concilium.deployment.coordinator import run_federation
from concilium.deployment.told import NOBODY, Begun, Ended, Telling
from concilium.orchestration.carriers import Carrier, Terms
from concilium.orchestration.observers import Event, RoundFinished, Warned
from concilium.studies.bench import Job

LOG = logging.getLogger("concilium.run")


def conduct(carrier: Carrier, study: Path, out: Path, terms: Terms) -> None:
    """Run a study into a run folder; one that is begun goes on from its last committed round."""
    own, text = read_federated(study), study.read_text(encoding="utf-8")
    telling = Telling(out)

    def observe(job: Job, event: Event) -> None:
        telling(job, event)
        log(job, event)

    telling(NOBODY, Begun())
    run_federation(own, text, out, carrier, terms, resume=True, observer=observe)
    telling(NOBODY, Ended())


def log(job: Job, event: Event) -> None:
    """Write a line for an event."""
    if isinstance(event, Warned):
        LOG.warning("%s", event.text)
    elif isinstance(event, RoundFinished):
        LOG.info("%s: round %s of %s", job, event.record.get("round"), event.num_rounds)
    else:
        LOG.info("%s: %s", job, event)
