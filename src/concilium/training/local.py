"""The gradient loop: some local epochs of one client, or of all data pooled.

``stacked`` takes the same steps for many clients at once; there is no third loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from concilium.data.augmentation import Augmentation
from concilium.data.batch import Batch
from concilium.data.dataset import Exams
from concilium.data.loader import batches
from concilium.data.prefetch import one_ahead
from concilium.foundation.checks import at_least, not_negative, one_of
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.training.optimizers import OptimizerSettings

# Added to the gradients in place before each step: current parameters → a term for each of them.
GradientTerm = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

NOTHING = NamedTensors({})

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Step:
    """One step of training, as a term of its loss sees it: never the images.

    ``features`` (B, d) and ``logits`` (B, L) of the network in training, with their gradients,
    float32 in every precision; ``target`` (B, L) and ``known`` (B, L) of the batch.

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
    _precision: Precision

    @torch.no_grad()
    def features_of(self, model: NamedTensors) -> Tensor:
        """Encoder outputs (B, d) of the same images under another model, without gradient."""
        start = "encoder."
        whole = self._whole(model).items()
        own = {n.removeprefix(start): t for n, t in whole if n.startswith(start)}
        with computing_in(self._precision, self._image.device):
            features: Tensor = functional_call(self._network.encoder, own, (self._image,))
        return features.float()

    @torch.no_grad()
    def logits_of(self, model: NamedTensors) -> Tensor:
        """Logits (B, L) of the same images under another model, without gradient."""
        with computing_in(self._precision, self._image.device):
            logits: Tensor = functional_call(self._network, self._whole(model), (self._image,))
        return logits.float()

    def _whole(self, model: NamedTensors) -> dict[str, Tensor]:
        whole = {**self._private, **model}
        return {name: tensor.to(self._image.device) for name, tensor in whole.items()}


# Added to the loss of each step before its gradient is taken: a scalar.
LossTerm = Callable[[Step], Tensor]


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains in one round.

    ``clip_norm`` caps the norm of the whole gradient of a step (0: not at all). ``precision`` is
    that of the network's forward and backward pass; parameters, loss and the optimiser's state are
    float32 in both. ``spare_core``: a core of the CPU stands idle while this client trains, and may
    augment the next batch meanwhile; it changes no result.
    """

    epochs: int = 1
    batch_size: int = 32
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    clip_norm: float = 0.0
    precision: Precision = "float32"
    spare_core: bool = False

    def __post_init__(self) -> None:
        at_least(1, local_epochs=self.epochs, batch_size=self.batch_size)
        not_negative(clip_norm=self.clip_norm)
        one_of(("float32", "bfloat16"), precision=self.precision)


@dataclass(frozen=True)
class Trained:
    """What a local training did: steps taken and its mean loss (NaN without a step)."""

    num_steps: int
    mean_loss: float


class Task(NamedTuple):
    """One client's local training: what ``train`` takes.

    The network is the client's own for the time being.
    """

    network: Network
    exams: Exams
    loss: Loss
    settings: LocalTraining
    generator: torch.Generator
    gradient_term: GradientTerm | None = None
    loss_term: LossTerm | None = None
    private: NamedTensors = NOTHING


def train_alone(task: Task) -> Trained:
    """Do a task by itself."""
    return train(*task)


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
    with _ready(_drawn(exams, settings, generator, device), exams, settings, device) as ready:
        for drawn in ready:
            batch = drawn.to(device)
            optimizer.zero_grad()
            value = _loss(network, batch, loss, loss_term, private, settings.precision)
            value.backward()  # type: ignore[no-untyped-call]
            _finish_gradients(parameters, gradient_term, settings.clip_norm)
            optimizer.step()
            losses.append(value.detach())
    return Trained(len(losses), mean_of(losses))


def _drawn(
    exams: Exams, settings: LocalTraining, generator: torch.Generator, device: torch.device
) -> Iterator[Batch]:
    """The batches of all epochs that have a known entry."""
    for _ in range(settings.epochs):
        for batch in batches(exams, settings.batch_size, generator, settings.augmentation):
            if bool(batch.known.any()):
                yield batch.pinned() if device.type == "cuda" else batch


def _ready(
    drawn: Iterator[Batch], exams: Exams, settings: LocalTraining, device: torch.device
) -> AbstractContextManager[Iterator[Batch]]:
    """The batches as they are drawn, or one ahead of their step where that saves time.

    A GPU computes while the CPU prepares (expected, not measured here). On the CPU a thread gains
    where a core stands idle and images are augmented: a training of ``small_cnn`` takes 0.88 of the
    time at 64 pixels, 0.56 at 224. Where as many clients train as there are cores it gains nothing
    and takes up to 10 % more CPU time; images that are not augmented take 0.1 to 2 % of a step.
    Those on the disk are read ahead without a thread (``data.readahead``).
    """
    augmented = settings.augmentation != Augmentation()
    worth = device.type == "cuda" or (settings.spare_core and augmented)
    return one_ahead(drawn) if worth and exams.images.dtype == np.uint8 else nullcontext(drawn)


def _loss(
    network: Network,
    batch: Batch,
    loss: Loss,
    term: LossTerm | None,
    private: NamedTensors,
    precision: Precision,
) -> Tensor:
    with computing_in(precision, batch.image.device):
        features = network.encoder(batch.image)
        logits = network.scores(features)
    features, logits = features.float(), logits.float()
    value = loss(logits, batch.target, batch.known)
    if term is None:
        return value
    labels = batch.target, batch.known
    return value + term(Step(features, logits, *labels, network, batch.image, private, precision))


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Within it, networks compute in a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


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


def mean_of(losses: list[Tensor]) -> float:
    """Mean loss of some steps; NaN of none. Raises DivergenceError where it is not finite."""
    if not losses:
        return float("nan")
    mean = float(torch.stack(losses).double().mean())
    if not math.isfinite(mean):
        raise DivergenceError("the training loss is not finite: lower the learning rate")
    return mean
