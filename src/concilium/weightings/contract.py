"""What a weighting is: how much say a client's update has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


class Weighting(ABC):
    """A weighting. A frozen dataclass; its fields are its settings."""

    @abstractmethod
    def __call__(self, delta: NamedTensors, statistics: LabelStatistics) -> NamedTensors:
        """The weight a_k ≥ 0 of each tensor, broadcastable to it.

        ``delta`` is w_k − w; ``statistics`` are the client's own training counts.
        """


CONTRACT = Weighting
