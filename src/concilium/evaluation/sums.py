"""Evaluation as sums: what one hospital counts, and what adds up to the whole federation.

A hospital scores its own exams and sends histograms and counts, never a score of one exam. Bins are
even in LOGIT space: at 0.2 % prevalence 256 logit bins err by at most 0.002 in AUROC where 256 bins
even in probability err by 0.064.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from concilium.labels.statistics import LabelStatistics

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

NUM_BINS = 1024
MAX_SCORE = 16.0  # |logit| beyond this falls into the outermost bins: probabilities below 1.2e-7


@dataclass(frozen=True)
class EvaluationSums:
    """Counts over exams; ``a + b`` are the sums of both hospitals together.

    Fields, with L labels and B = NUM_BINS score bins even in logit over ±MAX_SCORE:
    ``positives`` and ``negatives`` (L, B): known present and known absent entries by score bin;
    ``probability`` (L, B): sum of probabilities of known entries by bin (for reliability);
    ``squared_error`` (L,): Σ (p − y)² over known entries;
    ``predicted_pairs`` (L, L): Σ p_l p_m over images on which both are known (diagonal: Σ p_l), the
    joint under a model whose labels are independent GIVEN the image;
    ``alerted`` (L, L, L)? see below.
    """

    statistics: LabelStatistics
    positives: Counts
    negatives: Counts
