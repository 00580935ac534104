"""Questions that the server asks clients, each answered with a value that adds up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from concilium.evaluation.bootstrap import BootstrapSums, replicate_sums
from concilium.evaluation.calibration import Calibration
from concilium.evaluation.decoupling import DecoupledSums, LabelSetCounts, LabelSetWeights
from concilium.evaluation.sums import EvaluationSums
from concilium.federation.client import Client
from concilium.foundation.named_tensors import NamedTensors
from concilium.foundation.seeds import derive_seed
from concilium.joint.inference import Posterior
from concilium.joint.pseudo_likelihood import PseudoSums
from concilium.labels.statistics import LabelStatistics

A = TypeVar("A")


class Request(ABC, Generic[A]):
    """A question with an answer that adds up. Frozen: it could be put into a message."""

    @abstractmethod
    def answer(self, client: Client) -> A:
        """The client's answer, from its own exams."""


@dataclass(frozen=True)
class StatisticsRequest(Request[LabelStatistics]):
    """How many images, patients, known and present labels, and pairs of them?"""

    part: str = "train"

    def answer(self, client: Client) -> LabelStatistics:
        return client.statistics(self.part)


@dataclass(frozen=True)
class PseudoLikelihoodRequest(Request[PseudoSums]):
    """What are the sums of the pseudo-likelihood at ``point`` (L, L), in the training parts?"""

    prevalence: Tensor
    point: Tensor

    def answer(self, client: Client) -> PseudoSums:
        return PseudoSums.of(*client.labels(), self.prevalence, self.point)


@dataclass(frozen=True)
class EvaluationRequest(Request[EvaluationSums]):
    """How well does this model do on one part, at these thresholds (L,)?"""

    model: NamedTensors
    part: str
    calibration: Calibration | None = None
    thresholds: npt.NDArray[np.float64] | None = None
    label_sets: tuple[tuple[int, ...], ...] = ()
    posterior: Posterior | None = None

    def answer(self, client: Client) -> EvaluationSums:
        exams = client.parts[self.part]
        scores = _scores(client, self.model, self.part, self.posterior, self.calibration)
        return EvaluationSums.of(
            scores, exams.target, exams.known, exams.patient, self.thresholds, self.label_sets
        )


@dataclass(frozen=True)
class LabelSetRequest(Request[LabelSetCounts]):
    """How many exams of one part have each set of labels?

    A hospital sends each label set that it has with the number of its exams, and the number of
    exams on which a label is unknown. Small cells are in it: a set that one exam has is sent as 1,
    open to whoever adds the answers up unless the sum is a secure one; and a set that one exam of
    all hospitals has is a 1 in any sum. The smallest count that may leave a hospital is a rule of
    its own, not a setting of a study.
    """

    part: str

    def answer(self, client: Client) -> LabelSetCounts:
        exams = client.parts[self.part]
        return LabelSetCounts.of(exams.target, exams.known)


@dataclass(frozen=True)
class TriedSums:
    """A model tried on exams: as it is used, before it was calibrated, and on decoupled labels.

    Only of the first are there alerts. ``a + b`` are the sums of both hospitals.
    """

    used: EvaluationSums
    uncalibrated: EvaluationSums
    decoupled: DecoupledSums

    def __add__(self, other: TriedSums) -> TriedSums:
        """Both together. Raises InputError where thresholds or label sets differ."""
        return TriedSums(
            self.used + other.used,
            self.uncalibrated + other.uncalibrated,
            self.decoupled + other.decoupled,
        )


@dataclass(frozen=True)
class TrialRequest(Request[TriedSums]):
    """What ``EvaluationRequest`` asks, with all else that the same scores can tell.

    The client scores its exams once. ``weights`` are those of label sets in the decoupled test.
    """

    model: NamedTensors
    part: str
    calibration: Calibration
    thresholds: npt.NDArray[np.float64]
    label_sets: tuple[tuple[int, ...], ...]
    posterior: Posterior | None
    weights: LabelSetWeights

    def answer(self, client: Client) -> TriedSums:
        exams = client.parts[self.part]
        raw = _scores(client, self.model, self.part, self.posterior, None)
        scores = self.calibration.apply(raw)
        own = exams.target, exams.known
        return TriedSums(
            EvaluationSums.of(scores, *own, exams.patient, self.thresholds, self.label_sets),
            EvaluationSums.of(raw, *own, exams.patient),
            DecoupledSums.of(scores, *own, self.weights, self.thresholds),
        )


@dataclass(frozen=True)
class BootstrapRequest(Request[BootstrapSums]):
    """Score histograms of one part for many random weightings of the patients.

    Who knows the weights reads single patients from the answer: it is a sum of their entries times
    known numbers. So a client with a secret draws weights that nobody else can draw, and for every
    model other ones, lest a patient be followed from model to model.
    """

    model: NamedTensors
    part: str
    replicates: int
    seed: int
    calibration: Calibration | None = None
    posterior: Posterior | None = None

    def answer(self, client: Client) -> BootstrapSums:
        exams, scores, seed = client.parts[self.part], self.scores(client), self.seed_of(client)
        return replicate_sums(
            scores, exams.target, exams.known, exams.patient, self.replicates, seed
        )

    def scores(self, client: Client) -> npt.NDArray[Any]:
        """Scores (N, L) that the client counts; they stay with it."""
        return _scores(client, self.model, self.part, self.posterior, self.calibration)

    def seed_of(self, client: Client) -> int:
        """The seed of the client's own weights, which hangs on its secret where it has one."""
        if not client.secret:
            return derive_seed(self.seed, "bootstrap", client.name)
        hidden = client.secret.hex(), self.model.digest(), self.part
        return derive_seed(self.seed, "bootstrap", client.name, *hidden)


def _scores(
    client: Client,
    model: NamedTensors,
    part: str,
    posterior: Posterior | None,
    calibration: Calibration | None,
) -> npt.NDArray[Any]:
    """Scores (N, L) of one part as a model is used: under a label prior, then calibrated."""
    scores: npt.NDArray[Any] = client.scores(model, part)
    if posterior is not None:
        prior = posterior.prior_at(client.statistics(), *client.labels())
        scores = posterior.apply(scores, prior)
    return scores if calibration is None else calibration.apply(scores)
