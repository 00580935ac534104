"""A client: one hospital's exams, and the three things it does with them (count, train, score)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from concilium.data.dataset import Exams
from concilium.data.loader import batches
from concilium.federation.sharing import load, travelling
from concilium.foundation.named_tensors import NamedTensors
from concilium.foundation.seeds import torch_generator
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.training.local import GradientTerm, LocalTraining, Trained, train

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Client:
    """One hospital.

    ``parts`` are its exams of "train", "validation" and "test"; ``network`` is the worker's module,
    into which a model is copied before use (clients of one process share it); ``device`` is where
    it computes. What a client computes depends on its name, the seed and the broadcast alone.
    """

    name: str
    parts: Mapping[str, Exams]
    network: Network
    loss: Loss
    training: LocalTraining
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _features: dict[str, tuple[str, npt.NDArray[np.float32]]] = field(default_factory=dict)

    def statistics(self, part: str = "train") -> LabelStatistics:
        """Label statistics of one part."""
        return self.parts[part].statistics()

    def train(
        self,
        model: NamedTensors,
        round_: int,
        loss: Loss,
        gradient_term: GradientTerm | None = None,
    ) -> tuple[NamedTensors, Trained]:
        """The model after this round's local training on the training part."""
        load(self.network, model)
        generator = torch_generator(self.seed, "round", round_, "client", self.name)
        done = train(
            self.network, self.parts["train"], loss, self.training, generator, gradient_term
        )
        return travelling(self.network), done

    def features(self, model: NamedTensors, part: str) -> npt.NDArray[np.float32]:
        """Encoder outputs h(x) (N, d) of one part; kept until the encoder changes."""
        body = NamedTensors({n: t for n, t in model.items() if not n.startswith("head.")})
        digest = body.digest()
        kept = self._features.get(part)
        if kept is None or kept[0] != digest:
            load(self.network, model)
            kept = (digest, self._encode(part))
            self._features[part] = kept
        return kept[1]

    def scores(self, model: NamedTensors, part: str) -> npt.NDArray[np.float32]:
        """Scores (N, L) of one part, whose sigmoid is the model's probability."""
        features = torch.from_numpy(self.features(model, part))
        logits = features @ model["head.weight"].cpu().T + model["head.bias"].cpu()
        scores: npt.NDArray[np.float32] = self.loss.scores(logits).numpy()
        return scores

    @torch.no_grad()
    def _encode(self, part: str) -> npt.NDArray[np.float32]:
        self.network.eval()
        exams = self.parts[part]
        found = [
            self.network.encoder(batch.image.to(self.device)).float().cpu().numpy()
            for batch in batches(exams, EVALUATION_BATCH, None)
        ]
        width = self.network.head.in_features
        return np.concatenate(found) if found else np.zeros((0, width), np.float32)
