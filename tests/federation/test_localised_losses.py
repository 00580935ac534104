"""A client's loss knows the counts and the labels of now, however often it was asked before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concilium.labels.statistics import LabelStatistics
from concilium.losses.bce import BinaryCrossEntropy
from concilium.losses.contract import Loss
from tests.worlds import exams, hospital_parts, runtime


@dataclass(frozen=True)
class Knowing(BinaryCrossEntropy):
    """BCE that remembers how many images the federation has, and how many it has itself."""

    federation: int = 0
    own: int = 0

    def bind(self, statistics: LabelStatistics) -> Loss:
        return replace(self, federation=statistics.num_images)

    def localise(self, target: Tensor, known: Tensor) -> Loss:
        return replace(self, own=len(target))


def test_other_counts_or_other_exams_make_another_loss() -> None:
    client = runtime(hospital_parts((12, 20)), loss=Knowing()).members[0]
    few, many = (exams(size, 1).statistics() for size in (5, 50))
    assert client.loss_under(few) is client.loss_under(few)
    assert client.loss_under(few) == Knowing(5, 12)
    assert client.loss_under(many) == Knowing(50, 12)
    assert client.loss_under(None) == Knowing(0, 12)
    other = replace(client, parts={**client.parts, "train": exams(7, 2)})
    assert other.loss_under(many) == Knowing(50, 7)
    assert client.loss_under(many) == Knowing(50, 12)
    assert replace(client, loss=BinaryCrossEntropy()).loss_under(many) == BinaryCrossEntropy()
    assert torch.is_tensor(client.labels()[0])
