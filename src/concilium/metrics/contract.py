"""What a metric is: a number a label, from sums."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from concilium.evaluation.sums import EvaluationSums


class Metric(ABC):
    """A metric. A frozen dataclass; its fields are its settings."""

    @abstractmethod
    def __call__(self, sums: EvaluationSums) -> npt.NDArray[np.float64]:
        """Value of each label (L,); NaN where it is undefined (never 0)."""


CONTRACT = Metric
