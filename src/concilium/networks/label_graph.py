"""Label graph: z'_l = z_l + Σ_m C_lm σ(z_m), each score refined by those of a few other labels.

After Chen, Wei, Wang, Guo: "Multi-Label Image Recognition with Graph Convolutional Networks", CVPR
2019, arXiv 1904.03582 (ML-GCN), which builds a sparse graph of labels from their co-occurrence. A
strong simplification: ML-GCN propagates word vectors of the labels through the graph to make their
classifiers; here the scores themselves pass along its edges, once, which is a step of the mean
field of an Ising model over labels. C has L · edges numbers that train and travel, and can be read.
It begins with the ``edges`` largest |phi| of each label in the federation's summed statistics,
where ML-GCN cuts P(m | l) at a threshold; every other entry is exactly 0 and stays so.

A graph learns to expect what goes together at the hospitals that train it: with it, false coupling
rises where findings come apart. It is here to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from concilium.foundation.checks import at_least, not_negative
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.correlation import phi
from concilium.labels.statistics import LabelStatistics
from concilium.networks._building import Base, build_base
from concilium.networks.contract import Architecture, LabelGraph, Network


class SparseCoupling(LabelGraph):
    """C (L, L) of the scores. An entry that is 0 is no edge: it changes nothing, nor does it train.

    So a graph keeps its edges in training, and the average of graphs with the same edges, too.
    """

    def __init__(self, num_labels: int, edges: int, strength: float) -> None:
        super().__init__()
        self.edges, self.strength = edges, strength
        self.coupling = nn.Parameter(torch.zeros(num_labels, num_labels))

    def forward(self, scores: Tensor) -> Tensor:
        # Without the product the derivative of an absent edge would not be 0.
        coupling = self.coupling * (self.coupling.detach() != 0)
        return scores + scores.sigmoid() @ coupling.T

    def started(self, model: NamedTensors, statistics: LabelStatistics) -> NamedTensors:
        own = model["graph.coupling"]
        start = torch.from_numpy(self.strength * strongest(phi(statistics), self.edges)).to(own)
        return NamedTensors({**model, "graph.coupling": start})


@dataclass(frozen=True)
class LabelGraphNetwork(Architecture):
    """The network ``of``, its scores refined by a sparse graph of the labels.

    ``edges`` ≥ 1 is how many other labels a label listens to; ``strength`` ≥ 0 scales the phi at
    which their weights start. Before the federation's statistics are known, and with strength 0,
    the scores are those of the network it wraps, and the graph does not train.
    """

    of: Base = "small_cnn"
    edges: int = 3
    strength: float = 1.0

    def __post_init__(self) -> None:
        at_least(1, edges=self.edges)
        not_negative(strength=self.strength)
        build_base(self.of)

    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        network = build_base(self.of).build(input_shape, num_labels, seed)
        if network.graph is not None:
            raise InputError(Problem("label_graph", "it wraps a network that has a label graph"))
        network.graph = SparseCoupling(num_labels, self.edges, self.strength)
        return network


def strongest(matrix: npt.NDArray[np.float64], edges: int) -> npt.NDArray[np.float64]:
    """The matrix (L, L) with its ``edges`` entries of largest size in each row, and 0 elsewhere.

    The diagonal and NaN are no entries. Of equal ones the first are kept.
    """
    kept = np.nan_to_num(matrix.copy(), nan=0.0)
    np.fill_diagonal(kept, 0.0)
    order = np.argsort(-np.abs(kept), axis=1, kind="stable")
    np.put_along_axis(kept, order[:, edges:], 0.0, axis=1)
    return kept
