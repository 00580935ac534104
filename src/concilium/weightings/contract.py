"""What a weighting is: how much say a client's update has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


class Weighting(ABC):
    """A weighting. A frozen dataclass; its fields are its settings.

    Laws, run on every file of this folder: weights are finite and ≥ 0; permuting labels permutes
    the weights of rows; where rows have weights of their own, a client that knows no entry of a
    label has no say on its row; at complete hospitals whose labels are equally prevalent every row
    weighs as the body does.
    """

    @abstractmethod
    def __call__(
        self, delta: NamedTensors, own: LabelStatistics, federation: LabelStatistics
    ) -> NamedTensors:
        """The weight a_k ≥ 0 of each tensor, broadcastable to it.

        ``delta`` is w_k − w; ``own`` are the client's own training counts, ``federation`` the
        summed ones of all clients. A weight has one number for a tensor, or one a row (L, 1, …) of
        the head's; its bits go to the server, as a sum with the others'. Only ratios between
        clients matter, tensor by tensor and row by row; where all weigh 0, the mean delta is 0
        (FedAvg then moves nothing; a server optimiser with memory, as in ``fedopt`` and ``feddyn``,
        may).
        """


CONTRACT = Weighting
