"""Every question of the package with random contents, its answer, and what else travels."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

import concilium
from concilium.evaluation.calibration import Calibration
from concilium.evaluation.decoupling import LabelSetCounts
from concilium.federation.messages import Broadcast, Update
from concilium.federation.profiling import SplitProfileRequest
from concilium.federation.questions import Answer, Introduce, Introduction, Question, Refusal, Work
from concilium.federation.requests import (
    BootstrapRequest,
    EvaluationRequest,
    LabelSetRequest,
    PseudoLikelihoodRequest,
    Request,
    StatisticsRequest,
    TrialRequest,
)
from concilium.federation.sharing import travelling
from concilium.foundation.named_tensors import NamedTensors
from concilium.heads._held_out import HeldOutRequest
from concilium.heads._least_squares import EntryWeights, SquaresRequest
from concilium.heads._logistic import HessianRequest, LogisticLoss, LossRequest, Place
from concilium.heads._standardisation import MomentsRequest, Scale
from concilium.heads.label_regression import RegressionRequest
from concilium.joint.inference import Posterior, ScoreMeaning
from concilium.joint.label_prior import LabelPrior
from concilium.samplings.contract import NumTrainingImages
from tests.worlds import hospital_parts, linear_network, runtime

WORK = Work("a digest", "fedavg", 3, 1, 0.1, "a run")
LABELS, FEATURES = 3, 5


def kinds_of_requests() -> set[type]:
    """Every kind of question in the package, all modules loaded."""
    for module in pkgutil.walk_packages(concilium.__path__, prefix="concilium."):
        if not module.name.startswith(("concilium.cli", "concilium.flower", "concilium.__main__")):
            importlib.import_module(module.name)
    found, left = set[type](), [Request]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        found.add(kind)
    return {kind for kind in found - {Request} if kind.__module__.startswith("concilium.")}


def requests(seed: int, part: str = "validation") -> list[Request[Any]]:
    """One question of every kind."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    parts = hospital_parts((20, 9))
    model = travelling(linear_network(parts, seed))
    statistics = parts["hospital-0"]["train"].statistics()
    independent = LabelPrior.independent(normal(LABELS))
    posterior = Posterior.of("site", ScoreMeaning(), independent, statistics)
    calibration = Calibration(np.exp(normal(LABELS).numpy()), normal(LABELS).numpy())
    thresholds = np.array([0.5, np.nan, np.inf])
    exams = parts["hospital-0"]["test"]
    weights = LabelSetCounts.of(exams.target, exams.known).weights()
    scale = Scale(normal(FEATURES), normal(FEATURES).exp())
    place = Place(model, scale, normal(2, FEATURES + 1), (0, 2))
    beside = Place(model, scale, normal(2, 1), (0, 2), False, normal(2, FEATURES))
    entry = EntryWeights(normal(2).exp(), normal(2).exp())
    solutions = normal(3, 2, FEATURES + 1)
    return [
        StatisticsRequest(part),
        NumTrainingImages(),
        SplitProfileRequest(part),
        LabelSetRequest(part),
        PseudoLikelihoodRequest(normal(LABELS).sigmoid(), normal(LABELS, LABELS)),
        EvaluationRequest(model, part),
        EvaluationRequest(model, part, calibration, thresholds, ((0, 1), (2,)), posterior),
        TrialRequest(model, part, calibration, thresholds, ((0, 1),), None, weights),
        BootstrapRequest(model, part, 4, seed, calibration),
        MomentsRequest(model),
        LossRequest(place),
        LossRequest(beside),
        HessianRequest(place),
        HeldOutRequest(model, scale, solutions, (0, 2), LogisticLoss()),
        HeldOutRequest(model, scale, solutions, (0, 2), entry),
        SquaresRequest(model, scale, entry, (0, 2)),
        RegressionRequest(model, scale, True),
    ]


def messages(seed: int) -> Iterator[Any]:
    """All that goes to a hospital and comes back: questions, answers, envelopes."""
    own = runtime(hospital_parts((20, 9)))
    model = travelling(linear_network(hospital_parts((20, 9)), seed))
    counts = own.members[0].statistics()
    for request in requests(seed):
        yield Question(WORK, seed, "hospital-0", 0, request)
        yield Answer(seed, "hospital-0", request.answer(own.members[0]))
    for broadcast in (Broadcast(0, model), Broadcast(7, model, model * 2.0, counts, 0.25)):
        yield Question(WORK, 2**62 + seed, "hôpital|ünï/1", 3, broadcast)
        for name, update in own.train(broadcast, own.clients):
            yield Answer(seed, name, update)
    yield Update(model, model * 0.0, NamedTensors({}), 1, float("nan"), float("inf"), 0)
    yield Introduce(("Edema", "Mass"), (1, 64, 64), "0.1.0")
    yield Introduction((1, 64, 64), {"train": True, "test": False}, "0.1.0", {"a": "b"})
    yield Refusal(-1, "hospital-0", "unreadable")


def identical(one: Any, other: Any) -> bool:  # noqa: PLR0911 - one answer a kind of value
    """Whether two values are the same, to the last bit, the order of names and of strides."""
    match one:
        case _ if type(one) is not type(other):
            return False
        case torch.Tensor():
            strides = one.stride() == other.stride() or not one.numel()
            same = strides and (one.dtype, one.shape) == (other.dtype, other.shape)
            return same and one.numpy().tobytes() == other.numpy().tobytes()
        case np.ndarray():
            same = (one.dtype, one.shape) == (other.dtype, other.shape)
            return same and one.tobytes() == other.tobytes()
        case NamedTensors() | dict():
            return list(one) == list(other) and all(identical(one[n], other[n]) for n in one)
        case tuple():
            return len(one) == len(other) and all(map(identical, one, other))
        case _ if is_dataclass(one):
            return all(identical(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return repr(one) == repr(other)  # 0.0 and -0.0 differ, NaN does not
