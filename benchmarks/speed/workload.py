"""The workload that every runner runs: the same network, images, batches and steps.

A convolutional network of 106,126 parameters on 28×28 gray images with 14 labels; 20 clients of 200
images of noise; batches of 32, one local epoch, SGD with learning rate 0.05, 10 rounds of federated
averaging weighted by images. Only torch and NumPy are imported: peers' environments have no
concilium. All runners take the same batches, so their final models must have the same loss.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

CLIENTS, IMAGES, SIDE, LABELS, FEATURES = 20, 200, 28, 14, 64
BATCH, RATE, ROUNDS, SEED = 32, 0.05, 10, 0
WORKERS = 2


def encoder() -> nn.Sequential:
    """Two 3×3 convolutions of 16 and 32 channels, each max-pooled, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (SIDE // 4) ** 2, FEATURES),
        nn.ReLU(),
    )


class Model(nn.Module):
    """Encoder and head, named as in concilium's ``Network``; initial tensors from the seed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.encoder = encoder()
        self.head = nn.Linear(FEATURES, LABELS)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(image))
        return logits


@cache
def pixels_and_targets() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Images (clients, images, side, side) and targets (clients, images, labels): noise."""
    generator = np.random.default_rng(SEED)
    pixels = generator.integers(0, 256, (CLIENTS, IMAGES, SIDE, SIDE), dtype=np.uint8)
    targets = (generator.random((CLIENTS, IMAGES, LABELS)) < 0.1).astype(np.float32)
    return pixels, targets


@cache
def tensors(client: int) -> tuple[Tensor, Tensor]:
    """A client's images (N, 1, side, side) float32 in [−1, 1] and targets, ready in memory."""
    pixels, targets = pixels_and_targets()
    image = torch.from_numpy(pixels[client]).float().div_(127.5).sub_(1).unsqueeze(1)
    return image, torch.from_numpy(targets[client])


def client_name(client: int) -> str:
    return f"client-{client:02d}"


def order(client: int, round_: int) -> Tensor:
    """The order of a client's images in a round, drawn as concilium draws it."""
    path = (SEED, "round", round_, "client", client_name(client))
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in path)
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))


def batches(client: int, round_: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images and targets, by indexing."""
    image, target = tensors(client)
    for rows in order(client, round_).split(BATCH):
        yield image[rows], target[rows]


def local_epoch(model: nn.Module, client: int, round_: int) -> None:
    """The local training of every runner but ours, which has its own, and pfl, which has its."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for image, target in batches(client, round_):
        loss = binary_cross_entropy_with_logits(model(image), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


class Clock:
    """Seconds of each round: call it at the end of each; the first begins when it is made."""

    def __init__(self) -> None:
        self.rounds: list[float] = []
        self._last = time.perf_counter()

    def __call__(self) -> None:
        now = time.perf_counter()
        self.rounds.append(now - self._last)
        self._last = now


@torch.no_grad()
def report(rounds: list[float], model: nn.Module, **more: object) -> None:
    """Print the runner's one line: its rounds, and the loss of its model on all images."""
    losses = [
        binary_cross_entropy_with_logits(model(image), target)
        for image, target in map(tensors, range(CLIENTS))
    ]
    loss = float(torch.stack(losses).mean())
    print(json.dumps({"rounds": rounds, "loss": loss, "torch": torch.__version__, **more}))
