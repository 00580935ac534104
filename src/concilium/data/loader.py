"""Batches of exams, drawn from a memory-mapped array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concilium.data.augmentation import Augmentation
from concilium.data.batch import Batch
from concilium.data.dataset import Exams
from concilium.data.readahead import read_ahead
from concilium.foundation.checks import at_least
from concilium.foundation.errors import InputError


def batches(
    exams: Exams,
    batch_size: int,
    generator: torch.Generator | None = None,
    augmentation: Augmentation | None = None,
) -> Iterator[Batch]:
    """One pass over the exams; only the batch is ever copied.

    With a ``generator`` the order is drawn from it, without one it is that of the exams. Images
    become (B, 1, H, W) float32 in [−1, 1], features stay (B, d) float32. Raises
    InputError for a batch size below 1 and for an augmentation without a generator.
    """
    at_least(1, batch_size=batch_size)
    if augmentation is not None and generator is None:
        raise InputError("augmentation draws random numbers: give it a generator")
    return _batches(exams, batch_size, generator, augmentation)


def scaled(images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Tensor:
    """Images (B, H, W) uint8 as (B, 1, H, W) float32, 0 → −1 and 255 → 1; features as they are."""
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    if tensor.dtype != torch.uint8:
        return tensor.float()
    return tensor.float().div_(127.5).sub_(1).unsqueeze(1)


def _batches(
    exams: Exams,
    batch_size: int,
    generator: torch.Generator | None,
    augmentation: Augmentation | None,
) -> Iterator[Batch]:
    for rows in read_ahead(exams.images, rows_of_batches(len(exams), batch_size, generator)):
        image = scaled(np.asarray(exams.images[rows]))
        if augmentation is not None and generator is not None:
            image = augmentation(image, generator)
        target = torch.from_numpy(np.asarray(exams.target[rows]))
        yield Batch(image, target, torch.from_numpy(np.asarray(exams.known[rows])))


def rows_of_batches(
    count: int, batch_size: int, generator: torch.Generator | None
) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers of each batch. Drawn before the first batch, so that augmentation, which draws
    from the same generator, does not change the order.
    """
    order = np.arange(count)
    if generator is not None:
        order = torch.randperm(count, generator=generator, device=generator.device).cpu().numpy()
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size]
