"""The only gradient loop: some local epochs of one client, or of all data pooled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call

from concilium.data.augmentation import Augmentation
from concilium.data.batch import Batch
from concilium.data.dataset import Exams
from concilium.data.loader import batches
from concilium.foundation.checks import at_least, not_negative
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.training.optimizers import OptimizerSettings

# Added to the gradients in place before each step: current parameters → a term for each of them.
GradientTerm = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

NOTHING = NamedTensors({})


@dataclass(frozen=True)
class Step:
    """One step of training, as a term of its loss sees it: never the images.

    ``features`` (B, d) and ``logits`` (B, L) of the network in training, with their gradients;
    ``target`` (B, L) and ``known`` (B, L) of the batch.

    Another model is used together with the tensors that stay at home, as they were when this local
    training began: it stands still while the network in training moves.
    """

    features: Tensor
    logits: Tensor
    target: Tensor
    known: Tensor
    _network: Network
    _image: Tensor
    _private: NamedTensors

    @torch.no_grad()
    def features_of(self, model: NamedTensors) -> Tensor:
        """Encoder outputs (B, d) of the same images under another model, without gradient."""
        start = "encoder."
        whole = self._whole(model).items()
        own = {n.removeprefix(start): t for n, t in whole if n.startswith(start)}
        features: Tensor = functional_call(self._network.encoder, own, (self._image,))
        return features

    @torch.no_grad()
    def logits_of(self, model: NamedTensors) -> Tensor:
        """Logits (B, L) of the same images under another model, without gradient."""
        logits: Tensor = functional_call(self._network, self._whole(model), (self._image,))
        return logits

    def _whole(self, model: NamedTensors) -> dict[str, Tensor]:
        whole = {**self._private, **model}
        return {name: tensor.to(self._image.device) for name, tensor in whole.items()}


# Added to the loss of each step before its gradient is taken: a scalar.
LossTerm = Callable[[Step], Tensor]


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains in one round.

    ``clip_norm`` caps the norm of the whole gradient of a step (0: not at all).
    """

    epochs: int = 1
    batch_size: int = 32
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, local_epochs=self.epochs, batch_size=self.batch_size)
        not_negative(clip_norm=self.clip_norm)


@dataclass(frozen=True)
class Trained:
    """What a local training did: steps taken and its mean loss (NaN without a step)."""

    num_steps: int
    mean_loss: float


def train(
    network: Network,
    exams: Exams,
    loss: Loss,
    settings: LocalTraining,
    generator: torch.Generator,
    gradient_term: GradientTerm | None = None,
    loss_term: LossTerm | None = None,
    private: NamedTensors = NOTHING,
) -> Trained:
    """Train the network in place; order of batches and augmentation come from the generator.

    ``private`` are copies of the tensors that train and do not travel, as they are now: the term of
    the loss uses other models together with them.
    A step without a known entry is skipped: it has no gradient, and an optimiser with memory would
    move all the same. Raises DivergenceError where the loss is not finite.
    """
    network.train()
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    device = next(iter(parameters.values())).device
    optimizer = settings.optimizer.build(parameters.values())
    losses: list[Tensor] = []
    for _ in range(settings.epochs):
        for drawn in batches(exams, settings.batch_size, generator, settings.augmentation):
            if not bool(drawn.known.any()):
                continue
            batch = drawn.to(device)
            optimizer.zero_grad(set_to_none=True)
            value = _loss(network, batch, loss, loss_term, private)
            value.backward()  # type: ignore[no-untyped-call]
            _finish_gradients(parameters, gradient_term, settings.clip_norm)
            optimizer.step()
            losses.append(value.detach())
    return Trained(len(losses), _mean(losses))


def _loss(
    network: Network, batch: Batch, loss: Loss, term: LossTerm | None, private: NamedTensors
) -> Tensor:
    features = network.encoder(batch.image)
    logits = network.scores(features)
    value = loss(logits, batch.target, batch.known)
    if term is None:
        return value
    labels = batch.target, batch.known
    return value + term(Step(features, logits, *labels, network, batch.image, private))


def _finish_gradients(
    parameters: Mapping[str, nn.Parameter], term: GradientTerm | None, clip_norm: float
) -> None:
    if term is not None:
        with torch.no_grad():
            for name, value in term(parameters).items():
                gradient = parameters[name].grad
                if gradient is not None:
                    gradient.add_(value)
    if clip_norm:
        nn.utils.clip_grad_norm_(parameters.values(), clip_norm)


def _mean(losses: list[Tensor]) -> float:
    if not losses:
        return float("nan")
    mean = float(torch.stack(losses).double().mean())
    if not math.isfinite(mean):
        raise DivergenceError("the training loss is not finite: lower the learning rate")
    return mean
