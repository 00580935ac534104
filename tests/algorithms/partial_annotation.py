"""A federation in which one small hospital alone annotates a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from concilium.data.dataset import Exams
from concilium.training.local import LocalTraining
from concilium.training.optimizers import OptimizerSettings

Parts = dict[str, dict[str, Exams]]

TRAINING = LocalTraining(1, 16, OptimizerSettings("sgd", 0.5))
NUM_FEATURES = 8
SICKER = 1.5


def exams_of_two_labels(num: int, seed: int, sicker: float = 0.0) -> Exams:
    """Two labels along two fixed directions; ``sicker`` moves the exams towards label 0."""
    rule = np.random.default_rng(7).normal(size=(NUM_FEATURES, 2))
    rule /= np.linalg.norm(rule, axis=0)
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(num, NUM_FEATURES)) + sicker * rule[:, 0]
    noise = generator.logistic(size=(num, 2)) / 2
    target = (3 * images @ rule + noise > 1).astype(np.float32)
    known = np.ones((num, 2), dtype=bool)
    return Exams(images.astype(np.float32), target, known, np.arange(num) + 1000 * seed)


def partly_annotated(seed: int, annotated: int = 24, others: int = 150) -> Parts:
    """A small hospital with both labels; two big ones, with sicker patients, without label 0."""
    parts = {"small": {"train": exams_of_two_labels(annotated, 100 * seed)}}
    for k in (1, 2):
        train = exams_of_two_labels(others, 100 * seed + k, SICKER)
        train.known[:, 0] = False
        parts[f"big-{k}"] = {"train": train}
    return parts


def unseen(seed: int) -> Exams:
    """Exams as those of the small hospital, all labels known."""
    return exams_of_two_labels(500, 100 * seed + 50)


def unknown_as_absent(parts: Parts) -> Parts:
    """The naive reading of a missing label."""
    return {name: {"train": _as_absent(own["train"])} for name, own in parts.items()}


def all_known(parts: Parts) -> Parts:
    """The same exams, with every label."""
    return {
        name: {part: replace(e, known=np.ones_like(e.known)) for part, e in own.items()}
        for name, own in parts.items()
    }


def _as_absent(exams: Exams) -> Exams:
    target = np.where(exams.known, exams.target, 0).astype(np.float32)
    return replace(exams, target=target, known=np.ones_like(exams.known))
