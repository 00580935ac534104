"""Labels with too few cases to be advised on, and what that means for what is recommended."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from concilium.labels.statistics import LabelStatistics
from concilium.studies.situation import Situation

FEWEST_CASES = 10
"""Positives, and negatives, of a label below which calibration leaves it as it is, too."""

IN_TRAINING = (
    "Who holds them and how they differ between hospitals is not judged, and what is recommended "
    "was not measured on so few: for them it is a guess."
)
IN_VALIDATION = (
    "Their scores are not calibrated, their alert thresholds are guesses, and their part in the "
    "choice of rounds and learning rates is mostly chance."
)
OF_EVERY_LABEL = (
    "That is every label, so no method can be told from another here: what is recommended is where "
    "to start, not what suits these data. More exams come first, or other fractions in [split]."
)


def too_few(statistics: LabelStatistics) -> npt.NDArray[np.bool_]:
    """Labels (L,) with fewer than ten known positives, or fewer than ten known negatives."""
    found: npt.NDArray[np.bool_] = (
        np.minimum(statistics.positives, statistics.negatives) < FEWEST_CASES
    )
    return found


def cautions(own: Situation) -> list[str]:
    """What is said of labels with too few cases, a paragraph for each part that has such labels."""
    parts = {
        "training": (own.profile.statistics, IN_TRAINING),
        "validation": (own.validation, IN_VALIDATION),
    }
    found = []
    for part, (statistics, meaning) in parts.items():
        few = too_few(statistics)
        if few.any():
            named = own.named(few, partial(_counted, statistics))
            text = f"Too few cases in {part}, fewer than {FEWEST_CASES} with or without: {named}."
            found.append(" ".join([text, meaning, *([OF_EVERY_LABEL] if few.all() else [])]))
    return found


def remark(own: Situation) -> str:
    """The same in a line above what is recommended; empty where there are cases enough."""
    few = too_few(own.profile.statistics) | too_few(own.validation)
    if not few.any():
        return ""
    return f"too few cases of {int(few.sum())} of {len(few)} labels: for them this is a guess"


def _counted(statistics: LabelStatistics, label: int) -> str:
    """Cases of a label; its negatives where they are the fewer."""
    positives, negatives = statistics.positives[label], statistics.negatives[label]
    few, sign = (positives, "positive") if positives <= negatives else (negatives, "negative")
    return f"{few} {sign}{'' if few == 1 else 's'}"
