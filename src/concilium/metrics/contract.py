"""What a metric is: a number a label, from sums, and what laws and tables have to know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from concilium.evaluation.sums import EvaluationSums

DECLARED = ("needs_thresholds", "range", "higher_is_better", "ideal")


class Metric(ABC):
    """A metric. A frozen dataclass; its fields are its settings.

    It is a rate: the same exams twice have the same value. What it declares of itself, in its
    class, is all that the laws of ``tests/metrics`` and the tables of ``concilium compare`` and of
    the report know of it, so a new metric is one new file:
    ``needs_thresholds``: NaN for a label without a threshold, and only then so for want of one;
    ``range``: least and largest value that it can have, infinite where there is no end;
    ``higher_is_better``: which of two models a table calls better;
    ``ideal``: its value for a model that never errs and is sure of it.
    """

    needs_thresholds: ClassVar[bool]
    range: ClassVar[tuple[float, float]]
    higher_is_better: ClassVar[bool]
    ideal: ClassVar[float]

    def __init_subclass__(cls) -> None:
        """Raise TypeError that names everything that a metric has not declared."""
        super().__init_subclass__()
        missing = [name for name in DECLARED if not hasattr(cls, name)]
        if missing:
            raise TypeError(
                f"metric {cls.__name__} does not declare {', '.join(missing)}: "
                "give them as class variables (see concilium/metrics/contract.py)"
            )

    @abstractmethod
    def __call__(self, sums: EvaluationSums) -> npt.NDArray[np.float64]:
        """Value of each label (L,); NaN where it is undefined (never 0)."""


CONTRACT = Metric
