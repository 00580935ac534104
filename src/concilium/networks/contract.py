"""What a network is: an encoder h(x) with a linear head, z = W h + b."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module):
    """An encoder and a linear head. Final: networks differ in the encoder only.

    ``encoder`` maps images (B, 1, H, W) or features (B, d) to h (B, num_features); ``head`` is the
    linear layer that every network ends in, with one output (a score) a label. Its tensors are
    ``head.weight`` (L, num_features) and ``head.bias`` (L,) in every model that travels.
    """

    def __init__(self, encoder: nn.Module, num_features: int, num_labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(num_features, num_labels)

    def forward(self, image: Tensor) -> Tensor:
        """Scores (logits) (B, L)."""
        scores: Tensor = self.head(self.encoder(image))
        return scores


class Architecture(ABC):
    """Builds networks. A frozen dataclass; its fields are its settings in ``[network]``."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], num_labels: int, seed: int) -> Network:
        """A network whose initial tensors depend on the seed alone.

        ``input_shape`` is (1, H, W) or (d,). Raises InputError where the shape does not fit.
        """


CONTRACT = Architecture
