"""What may be asked of a model, at most: what the coordinator of this very study would ask.

Parts, label sets, the number of bootstrap replicates, their seed and the label prior are the
study's, and all arrays are of its labels. So an answer is as large as the study makes it, and a
question cannot choose among the random weightings of patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from concilium.data.splits import PARTS
from concilium.deployment.refusals import RefusedError
from concilium.evaluation.calibration import Calibration
from concilium.evaluation.decoupling import LabelSetWeights
from concilium.federation.questions import Work
from concilium.federation.requests import (
    BootstrapRequest,
    EvaluationRequest,
    LabelSetRequest,
    Request,
    StatisticsRequest,
    TrialRequest,
)
from concilium.joint.inference import Posterior
from concilium.joint.label_prior import LabelPrior
from concilium.labels.schema import LabelSchema
from concilium.studies.configuration import Study

MOST_BOOTSTRAPS = 3
"""Different ones that a training is given. One is asked; a coordinator that was killed and goes on
with other hospitals may ask it anew with another calibration."""


def check_request(study: Study, work: Work, what: Request[Any]) -> None:
    """Raise RefusedError ("policy") for what the study's own coordinator would not ask."""
    within = True
    if isinstance(what, StatisticsRequest | LabelSetRequest):
        within = _is_part(what.part)
    elif isinstance(what, EvaluationRequest | TrialRequest | BootstrapRequest):
        within = _is_part(what.part) and _fits(study, work, what)
    if isinstance(what, BootstrapRequest):
        asked = what.part, what.replicates, what.seed
        within = within and _same(asked, ("test", study.evaluation.bootstrap, work.seed))
    if isinstance(what, EvaluationRequest | TrialRequest):
        within = within and _of_its_label_sets(study, what)
    if not within:
        raise RefusedError("policy")


def _is_part(part: object) -> bool:
    return isinstance(part, str) and part in PARTS


def _same(given: Sequence[object], wanted: Sequence[object]) -> bool:
    """Whether values are equal and of the same types: 4.0 and True are no whole numbers."""
    return all(
        type(one) is type(other) and one == other for one, other in zip(given, wanted, strict=True)
    )


def _fits(
    study: Study, work: Work, what: EvaluationRequest | TrialRequest | BootstrapRequest
) -> bool:
    """Whether calibration and label prior are of the study's labels, the prior of its method."""
    own, posterior, labels = what.calibration, what.posterior, len(study.data.labels)
    if own is not None and not (
        isinstance(own, Calibration) and _shaped(own.slope, labels) and _shaped(own.offset, labels)
    ):
        return False
    if posterior is None:
        return True
    prior = posterior.prior if isinstance(posterior, Posterior) else None
    return (
        isinstance(prior, LabelPrior)
        and posterior.choice == study.methods[work.method].prior
        and _shaped(posterior.baseline, labels)
        and _shaped(prior.bias, labels)
        and _shaped(prior.coupling, labels, labels)
        and (posterior.coupling is None or _shaped(posterior.coupling, labels, labels))
    )


def _of_its_label_sets(study: Study, what: EvaluationRequest | TrialRequest) -> bool:
    """Whether label sets are none or the study's, and thresholds and weights of its labels."""
    schema, labels = LabelSchema(study.data.labels), len(study.data.labels)
    known = tuple(schema.indices(names) for names in study.evaluation.label_sets)
    weighed = True
    if isinstance(what, TrialRequest):
        own = what.weights
        weighed = (
            isinstance(own, LabelSetWeights)
            and _shaped(own.weight, len(own.weight))
            and _shaped(own.sets, len(own.weight), labels)
        )
    return (
        (what.thresholds is None or _shaped(what.thresholds, labels))
        and repr(what.label_sets) in (repr(()), repr(known))  # by its digits: True is no 1
        and weighed
    )


def _shaped(array: object, *shape: int) -> bool:
    return isinstance(array, np.ndarray | Tensor) and tuple(array.shape) == shape
