"""Expected calibration error: how far probabilities are from frequencies, on average.

Mahdi Pakdaman Naeini, Gregory Cooper and Milos Hauskrecht, Obtaining Well Calibrated Probabilities
Using Bayesian Binning, AAAI 2015: Σ_g n_g/N |mean y − mean p| over groups of exams. Groups of equal
mass, not of equal width (Khanh Nguyen and Brendan O'Connor, Posterior calibration and exploratory
analysis for natural language processing models, EMNLP 2015, arXiv:1508.05154): at 0.2 % prevalence
nearly all exams fall into the first of 15 equally wide bins, and a rare label would always look
calibrated. Groups are unions of score bins, so they are only as equal as ties allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.checks import at_least
from concilium.metrics.contract import Metric


class Reliability(NamedTuple):
    """A reliability diagram (L, G each): mean probability, observed share, number of entries."""

    predicted: Floats
    observed: Floats
    num_entries: npt.NDArray[np.int64]


def reliability(sums: EvaluationSums, num_groups: int = 15) -> Reliability:
    """Predicted and observed shares in groups of equal mass; NaN for groups that are empty."""
    at_least(1, num_groups=num_groups)
    total = sums.positives + sums.negatives
    group = _groups(total, num_groups)
    count = _grouped(total, group, num_groups)
    predicted = divide(_grouped(sums.probability, group, num_groups), count)
    observed = divide(_grouped(sums.positives, group, num_groups), count)
    return Reliability(predicted, observed, np.rint(count).astype(np.int64))


def _groups(total: npt.NDArray[np.int64], num_groups: int) -> npt.NDArray[np.int64]:
    """Group of each bin (L, B), by where its middle exam stands among all exams."""
    middle = np.cumsum(total, axis=1) - total / 2
    everything = np.maximum(total.sum(1, keepdims=True), 1)
    group = np.minimum(num_groups * middle // everything, num_groups - 1)
    return np.asarray(group, np.int64)


def _grouped(values: npt.ArrayLike, group: npt.NDArray[np.int64], num_groups: int) -> Floats:
    own = np.asarray(values, np.float64)
    cells = group + num_groups * np.arange(len(own))[:, None]
    sums = np.bincount(cells.ravel(), weights=own.ravel(), minlength=num_groups * len(own))
    return np.asarray(sums.reshape(-1, num_groups), np.float64)


@dataclass(frozen=True)
class CalibrationError(Metric):
    """Expected calibration error of each label, over groups of equal mass."""

    needs_thresholds: ClassVar[bool] = False
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = False
    ideal: ClassVar[float] = 0.0

    num_groups: int = 15

    def __call__(self, sums: EvaluationSums) -> Floats:
        """ECE (L,) in [0, 1]; NaN where nothing is known."""
        curve = reliability(sums, self.num_groups)
        gap = np.nan_to_num(np.abs(curve.predicted - curve.observed), nan=0.0)
        return divide((curve.num_entries * gap).sum(1), curve.num_entries.sum(1))
