"""Letters to a hospital, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from concilium import __version__
from concilium.data.dataset import Form
from concilium.deployment.allowed import federation_digest
from concilium.deployment.site import Site
from concilium.federation.messages import Broadcast
from concilium.federation.questions import Introduce, Question, Work
from concilium.federation.sharing import travelling
from concilium.federation.states import ServerState
from concilium.federation.wire import decode, encode
from concilium.labels.schema import LabelSchema
from concilium.studies import assembly
from tests.deployment.worlds import LABELS, study_of


def work_of(study: Path, /, **changed: Any) -> Work:
    """The first training of a study."""
    own = study_of(study)
    method = next(iter(own.methods))
    fields = {
        "study": federation_digest(own),
        "method": method,
        "seed": own.seeds[0],
        "fold": 0,
        "learning_rate": own.training.learning_rates[0],
        "run": "a run",
    }
    return Work(**{**fields, **changed})


def introduce(**changed: Any) -> Introduce:
    """The question who somebody is."""
    return Introduce(**{"labels": LABELS, "version": __version__, **changed})


def broadcast_of(study: Path, round_: int = 0) -> Broadcast:
    """The initial model of a study, as its first method sends it in a round."""
    own = study_of(study)
    name, settings = next(iter(own.methods.items()))
    network = assembly.network_of(own, Form(LabelSchema(LABELS), (4,)), own.seeds[0])
    model = travelling(network, settings.shares)
    return assembly.method_of(name, settings).algorithm.broadcast(ServerState(round_, model, 1))


def ask(site: Site, work: Work, what: Any, counted: int = 0, hospital: str = "east") -> Any:
    """What a site answers: an Answer or a Refusal."""
    return decode(site.answer(encode(Question(work, 7, hospital, counted, what))))


def code(site: Site, work: Work, what: Any, **how: Any) -> str:
    """The code of a site's refusal."""
    refusal = ask(site, work, what, **how)
    assert (refusal.number, refusal.hospital) == (7, site.hospital.name)
    return str(refusal.code)
