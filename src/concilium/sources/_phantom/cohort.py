"""Who is imaged: patients, their visits, their findings, and every random number of a drawing.

Exams come in blocks of ``BLOCK``; a block depends on its number and the seed only, so an exam stays
what it is when more exams are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from concilium.foundation.seeds import numpy_generator
from concilium.sources._phantom.label_sets import LabelSets, ap_probabilities

BLOCK = 512
NUM_TRAITS = 12
"""Uniform numbers that place one finding on one exam."""
NUM_BODY = 28
"""Normal numbers that shape one patient."""
NUM_VISIT = 8
"""Normal numbers that shape one exam: breath, position, exposure."""

_SINGLE_EXAM = 0.57  # patients of NIH ChestX-ray14 with one image
_MORE_EXAMS = 0.29  # geometric: 2.5 images a patient with at most twelve (NIH: 3.6, at most 184)
_MOST_EXAMS = 12
_FINDINGS_STAY = 0.5  # chance that a patient's next image shows the same findings

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cohort:
    """N exams, those of a patient in a row.

    ``patient`` (N,) int64 codes; ``states`` (N, L) int8, 1 for present; ``age`` (N,) years;
    ``female``, ``ap`` (N,) bool; ``hospital`` (N,) uniform in [0, 1), the same for a patient;
    ``body`` (N, NUM_BODY) standard normal, the same for a patient; ``visit`` (N, NUM_VISIT)
    standard normal; ``traits`` (N, L, NUM_TRAITS) uniform, where and how strong each finding is.
    """

    patient: npt.NDArray[np.int64]
    states: npt.NDArray[np.int8]
    age: Reals
    female: npt.NDArray[np.bool_]
    ap: npt.NDArray[np.bool_]
    hospital: Reals
    body: Reals
    visit: Reals
    traits: Reals

    def __len__(self) -> int:
        return len(self.patient)

    def take(self, rows: slice) -> Cohort:
        """Some exams of it."""
        return Cohort(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_block(
    sets: LabelSets, probability: npt.NDArray[np.float64], seed: int, block: int
) -> Cohort:
    """The ``BLOCK`` exams of one block; patient codes begin at 0 in each block."""
    rng = numpy_generator(seed, "phantom", "block", block)
    patient = _patients(rng)
    people, labels = int(patient[-1]) + 1, sets.states.shape[1]
    fresh = rng.choice(len(probability), BLOCK, p=probability)
    origin = _origin_of_findings(patient, rng)
    chosen = fresh[origin]
    return Cohort(
        patient=patient,
        states=sets.states[chosen],
        age=np.clip(rng.normal(47, 17, people), 1, 95).astype(np.float32)[patient],
        female=(rng.random(people) < 0.435)[patient],
        ap=rng.random(BLOCK) < ap_probabilities(sets)[chosen],
        hospital=rng.random(people, np.float32)[patient],
        body=rng.standard_normal((people, NUM_BODY), np.float32)[patient],
        visit=rng.standard_normal((BLOCK, NUM_VISIT), np.float32),
        traits=rng.random((BLOCK, labels, NUM_TRAITS), np.float32)[origin],
    )


def _patients(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Codes 0..P−1 of the patients of a block (BLOCK,); the last one is cut at its end."""
    more = np.minimum(rng.geometric(_MORE_EXAMS, BLOCK), _MOST_EXAMS - 1)
    exams = np.where(rng.random(BLOCK) < _SINGLE_EXAM, 1, 1 + more)
    return np.repeat(np.arange(BLOCK), exams)[:BLOCK]


def _origin_of_findings(
    patient: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The exam at which each exam's findings were first seen (BLOCK,), itself or an earlier one.

    Findings stay or are drawn anew from the same frequencies, so these hold for later exams too.
    """
    follows = np.concatenate([[False], patient[1:] == patient[:-1]])
    stays = follows & (rng.random(BLOCK) < _FINDINGS_STAY)
    return np.maximum.accumulate(np.where(stays, 0, np.arange(BLOCK)))


def draw_cohort(
    sets: LabelSets, probability: npt.NDArray[np.float64], seed: int, num_exams: int
) -> Cohort:
    """Blocks enough for ``num_exams``, patients numbered through."""
    blocks, people = [], 0
    for number in range(-(-num_exams // BLOCK)):
        block = draw_block(sets, probability, seed, number)
        blocks.append(replace(block, patient=block.patient + people))
        people += int(block.patient[-1]) + 1
    columns = (np.concatenate([getattr(b, f.name) for b in blocks]) for f in fields(Cohort))
    return Cohort(*columns)
