"""What a Flower app's client adds to its replies: counts of labels, and an evaluation as sums.

Both are values that add up, so that ``flower.strategy`` can weigh labels and count scores over all
hospitals where an app would average one number of each.

What leaves a hospital here, for the server to read without secure sum: the number of training
exams, known entries and positives of each label; and, where it evaluates, histograms of scores by
label. Small counts among them may say something of single patients: a hospital that must not tell
them takes the whole of concilium (``concilium federation``) instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord

from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics

EXAMPLES, KNOWN, POSITIVES = COUNTS = ("num-examples", "label-known", "label-positives")
"""Names of the counts in a record; the first is the one that Flower's own strategies weigh by."""


def label_counts(
    target: npt.ArrayLike, known: npt.ArrayLike | None = None
) -> dict[str, int | list[int]]:
    """Counts of training labels, target (N, L) in [0, 1] and known (N, L), for a MetricRecord.

    ``known`` None: every entry is known. Whatever stands at an unknown entry has no influence; a
    soft target counts as present above one half. Torch tensors on the CPU will do. Raises
    InputError where shapes differ or a known target is not in [0, 1].

    >>> label_counts([[1, 0], [1, 1], [0, 0]], [[True, True], [True, False], [True, True]])
    {'num-examples': 3, 'label-known': [3, 2], 'label-positives': [2, 0]}
    """
    target, known = _checked(target, known)
    present = target > 0.5  # an unknown one is 0 by now
    return {
        EXAMPLES: len(target),
        KNOWN: [int(count) for count in known.sum(0)],
        POSITIVES: [int(count) for count in present.sum(0)],
    }


def evaluation_record(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    known: npt.ArrayLike | None = None,
    patient: npt.ArrayLike | None = None,
) -> ArrayRecord:
    """Evaluation sums of exams, for the reply to an evaluation: scores (N, L) in logits.

    ``target`` and ``known`` as in ``label_counts``; ``patient`` (N,) are numbers that stay here
    (None: every exam is another patient's). Raises InputError as ``EvaluationSums.of`` does.
    """
    target, known = _checked(target, known)
    whose = np.arange(len(target)) if patient is None else patient
    return sums_record(EvaluationSums.of(scores, target, known, whose))


def sums_record(sums: EvaluationSums) -> ArrayRecord:
    """Evaluation sums as a record of arrays."""
    return ArrayRecord({name: Array(array) for name, array in sums.to_arrays().items()})


def federation_counts(config: Mapping[str, Any]) -> LabelStatistics | None:
    """The federation's counts so far, from the config of a training message; None in round 1.

    A loss that leans on them takes them by ``loss.bind``. Counts of pairs of labels do not travel
    (they are 0 here): no loss of ours is bound to them.
    """
    if KNOWN not in config:
        return None
    return marginal_statistics(config[EXAMPLES], config[KNOWN], config[POSITIVES])


def marginal_statistics(
    num_images: int, known: npt.ArrayLike, positives: npt.ArrayLike
) -> LabelStatistics:
    """Statistics of which only each label's own counts (L,) are told; 0 patients, 0 pairs."""
    both_known = np.diag(np.asarray(known, np.int64))
    present = np.diag(np.asarray(positives, np.int64))
    return LabelStatistics(num_images, 0, both_known, present, present)


def counts_of(statistics: LabelStatistics) -> dict[str, int | list[int]]:
    """The counts of ``label_counts`` from statistics."""
    known, positives = statistics.known.tolist(), statistics.positives.tolist()
    return {EXAMPLES: statistics.num_images, KNOWN: known, POSITIVES: positives}


def _checked(
    target: npt.ArrayLike, known: npt.ArrayLike | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Target and known (N, L), with 0 at unknown entries."""
    own = np.asarray(target, np.float64)
    mask = np.ones(own.shape, np.bool_) if known is None else np.asarray(known, np.bool_)
    if own.ndim != 2 or mask.shape != own.shape:
        raise InputError(f"target {own.shape} and known {mask.shape} must both be (exams, labels)")
    own = np.where(mask, own, 0.0)
    if not ((own >= 0) & (own <= 1)).all():
        raise InputError(
            "a known target is not in [0, 1]: give ``known``, False where nobody said, and "
            "probabilities, not logits, as soft targets"
        )
    return own, mask
