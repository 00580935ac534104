"""A client: one hospital's exams, and the three things it does with them (count, train, score)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import functional_call

from concilium.data.dataset import Exams
from concilium.data.loader import batches
from concilium.federation.sharing import Sharing, load, private, travelling
from concilium.foundation.named_tensors import NamedTensors
from concilium.foundation.seeds import torch_generator
from concilium.labels.statistics import LabelStatistics
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.training.local import (
    GradientTerm,
    LocalTraining,
    LossTerm,
    Task,
    Trained,
    train_alone,
)

EVALUATION_BATCH = 256

Trainer = Callable[[Task], Trained]
"""What takes the steps of a local training: ``train_alone``, or many clients' together."""

Labels = tuple[Tensor, Tensor]
"""Target (N, L) in [0, 1] and known (N, L) bool, of all exams of a part."""


@dataclass(frozen=True)
class Client:
    """One hospital.

    ``parts`` are its exams of "train", "validation" and "test"; ``network`` is the worker's module,
    into which a model is copied before use (clients of one process share it); ``device`` is where
    it computes. What a client computes depends on its name, the seed and the broadcast alone.

    ``sharing`` says which tensors travel; ``private`` are its own tensors of those that do not.
    A model that travelled is used together with them, in training and in scoring.

    ``trainer`` takes the steps: the gradient loop, unless a runtime takes those of many together.

    ``secret`` is the hospital's own, from which it draws what nobody else may know, such as its
    patients' weights in a bootstrap; empty in a simulation, where all can be drawn again.
    """

    name: str
    parts: Mapping[str, Exams]
    network: Network
    loss: Loss
    training: LocalTraining
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sharing: Sharing = "all"
    private: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    trainer: Trainer = train_alone
    secret: bytes = field(default=b"", repr=False)
    _localised: list[tuple[tuple[object, ...], Loss]] = field(default_factory=list)
    _features: dict[str, tuple[str, npt.NDArray[np.float32]]] = field(default_factory=dict)

    @property
    def sees_images(self) -> bool:
        """Whether its exams are images, not features."""
        return any(exams.images.dtype == np.uint8 for exams in self.parts.values())

    def statistics(self, part: str = "train") -> LabelStatistics:
        """Label statistics of one part."""
        return self.parts[part].statistics()

    def loss_under(self, federation: LabelStatistics | None) -> Loss:
        """The loss that knows the federation's counts, where there are any, and its own labels.

        Made once and kept while the same counts are sent: some losses fit a model to the labels.
        """
        made_of = (self.loss, federation, self.parts["train"])
        for kept, loss in self._localised:
            if all(own is other for own, other in zip(kept, made_of, strict=True)):
                return loss
        loss = self.loss if federation is None else self.loss.bind(federation)
        self._localised[:] = [(made_of, loss.localise(*self.labels()))]
        return self._localised[0][1]

    def train(
        self,
        model: NamedTensors,
        round_: int,
        loss: Loss,
        gradient_term: GradientTerm | None = None,
        loss_term: LossTerm | None = None,
        labels: Labels | None = None,
    ) -> tuple[NamedTensors, NamedTensors, Trained]:
        """The model after this round's local training, its private tensors, and what was done.

        ``labels`` stand in for those of the training part.
        """
        self._load(model)
        exams = self.parts["train"]
        if labels is not None:
            exams = replace(exams, target=labels[0].numpy(), known=labels[1].numpy())
        generator = torch_generator(self.seed, "round", round_, "client", self.name)
        task = Task(
            self.network,
            exams,
            loss,
            self.training,
            generator,
            gradient_term,
            loss_term,
            self.private,
        )
        done = self.trainer(task)
        return travelling(self.network, self.sharing), private(self.network, self.sharing), done

    def labels(self, part: str = "train") -> Labels:
        """Target (N, L) and known (N, L) of one part."""
        exams = self.parts[part]
        return torch.from_numpy(exams.target), torch.from_numpy(exams.known)

    def features(self, model: NamedTensors, part: str) -> npt.NDArray[np.float32]:
        """Encoder outputs h(x) (N, d) of one part; kept until the encoder changes."""
        start = "encoder."
        digest = model.below(start).digest() + self.private.below(start).digest()
        kept = self._features.get(part)
        if kept is None or kept[0] != digest:
            self._load(model)
            kept = (digest, self._encode(part))
            self._features[part] = kept
        return kept[1]

    def scores(self, model: NamedTensors, part: str) -> npt.NDArray[np.float32]:
        """Scores (N, L) of one part, whose sigmoid is the model's probability."""
        features = torch.from_numpy(self.features(model, part))
        logits = features @ model["head.weight"].cpu().T + model["head.bias"].cpu()
        scores: npt.NDArray[np.float32] = self.loss.scores(self._refined(logits, model)).numpy()
        return scores

    def _load(self, model: NamedTensors) -> None:
        load(self.network, NamedTensors({**model, **self.private}))

    @torch.no_grad()
    def _refined(self, logits: Tensor, model: NamedTensors) -> Tensor:
        if self.network.graph is None:
            return logits
        start = "graph."
        own = {n.removeprefix(start): t.cpu() for n, t in model.items() if n.startswith(start)}
        graph = self.network.graph.cpu()
        refined: Tensor = functional_call(graph, own, (logits,))
        self.network.graph.to(self.device)
        return refined

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
