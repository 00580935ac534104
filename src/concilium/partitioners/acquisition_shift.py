"""Every hospital has its own machines: contrast, blur, noise, rotation, collimation by site."""

from __future__ import annotations

from dataclasses import dataclass, replace

from concilium.data.acquisition import draw_acquisition
from concilium.data.table import ExamTable
from concilium.foundation.checks import fraction
from concilium.foundation.seeds import derive_seed
from concilium.partitioners._dealing import Base, build_base
from concilium.partitioners.contract import Partition, Partitioner


@dataclass(frozen=True)
class AcquisitionShift(Partitioner):
    """The patients as ``of`` deals them out; each hospital's images changed by a habit of its own.

    ``strength`` in [0, 1] scales all habits; 0 changes no image. Only for images: feature vectors
    are refused where the habit is applied.
    """

    strength: float = 0.5
    of: Base = "iid"

    def __post_init__(self) -> None:
        fraction(strength=self.strength)

    def __call__(self, table: ExamTable, num_clients: int, seed: int) -> Partition:
        base = build_base(self.of)(table, num_clients, seed)
        habits = {
            name: draw_acquisition(self.strength, derive_seed(seed, "acquisition", name))
            for name in base.clients
        }
        return replace(base, acquisition=habits)
