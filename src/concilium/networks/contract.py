"""What a network is: an encoder h(x), a linear head z = W h + b, and at times a label graph."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


class LabelGraph(nn.Module, ABC):
    """Refines the scores of each label by those of the others. Its tensors begin with ``graph.``"""

    @abstractmethod
    def forward(self, scores: Tensor) -> Tensor:
        """Refined scores (B, L) of scores (B, L)."""

    @abstractmethod
    def started(self, model: NamedTensors, statistics: LabelStatistics) -> NamedTensors:
        """The initial model with the graph that the summed statistics suggest."""


class Network(nn.Module):
    """An encoder and a linear head. Final: networks differ in the encoder only.

    ``encoder`` maps images (B, 1, H, W) or features (B, d) to h (B, num_features); ``head`` is the
    linear layer that every network ends in, with one output (a score) a label. Its tensors are
    ``head.weight`` (L, num_features) and ``head.bias`` (L,) in every model that travels. ``graph``,
    where there is one, maps scores (B, L) to scores (B, L).
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_features: int,
        num_labels: int,
        graph: LabelGraph | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(num_features, num_labels)
        self.graph = graph

    def forward(self, image: Tensor) -> Tensor:
        """Scores (logits) (B, L)."""
        return self.scores(self.encoder(image))

    def scores(self, features: Tensor) -> Tensor:
        """Scores (B, L) of encoder outputs (B, num_features)."""
        scores: Tensor = self.head(features)
        return scores if self.graph is None else self.graph(scores)

    def started(self, model: NamedTensors, statistics: LabelStatistics) -> NamedTensors:
        """The initial model with what the federation's summed statistics say of its graph."""
        return model if self.graph is None else self.graph.started(model, statistics)


class Architecture(ABC):
    """Builds networks. A frozen dataclass; its fields are its settings in ``[network]``."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        """A network whose initial tensors depend on the seed alone.

        ``input_shape`` is (1, H, W) or (d,). Raises InputError where the shape does not fit.
        """


CONTRACT = Architecture
