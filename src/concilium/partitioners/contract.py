"""What a partitioner is: something that deals patients out to hospitals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from concilium.data.acquisition import Acquisition
from concilium.data.table import ExamTable


@dataclass(frozen=True)
class Partition:
    """Who holds what.

    ``clients`` names K hospitals; ``client`` (N,) int64 is the hospital of each row (all rows of a
    patient have the same); ``annotated`` (K, L) bool says which labels a hospital annotates (in
    its training and validation parts); ``acquisition`` maps a hospital's name to how its images
    differ.
    """

    clients: tuple[str, ...]
    client: npt.NDArray[np.int64]
    annotated: npt.NDArray[np.bool_]
    acquisition: Mapping[str, Acquisition] = field(default_factory=dict)


class Partitioner(ABC):
    """Deals out a table. A frozen dataclass; its fields are its settings."""

    @abstractmethod
    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        """A partition in which every patient is whole. The same seed gives the same partition."""


CONTRACT = Partitioner
