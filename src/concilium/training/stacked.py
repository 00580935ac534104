"""Many local trainings at once: the steps of several clients taken together, by batched products.

Where inputs are features and networks small, a step is little arithmetic and much of everything
else: Python, the start of each operator, bookkeeping. Here the parameters of K clients are stacked
to (K, …), their batches to (K, B, …), and each layer is one product for all of them. Each client
keeps its own loss, of its own scores alone, so what is computed is what ``training.local.train``
computes, up to the rounding of a batched product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concilium.data.loader import rows_of_batches
from concilium.data.readahead import read_ahead
from concilium.losses.contract import Loss
from concilium.training._stack import Stack, first_of, scores, stack_of, unstack
from concilium.training.local import Task, computing_in
from concilium.training.optimizers import Optimizer

Index = npt.NDArray[np.int64]


def train_together(
    tasks: Sequence[Task], before_each_step: Callable[[], None] = lambda: None
) -> list[list[Tensor]]:
    """Train the networks of all tasks in place; the losses of each one's steps.

    Inputs are features, the networks copies of one, the settings the same, and there is no term of
    the loss. Who
    takes most steps comes first in the stack, so those who still train are always its first rows.
    """
    drawn = [_rows_with_a_known_entry(task) for task in tasks]
    order = sorted(range(len(tasks)), key=lambda k: -len(drawn[k]))
    shared = _shared([tasks[k].loss for k in order])
    running = [tasks[k]._replace(loss=loss) for k, loss in zip(order, shared, strict=True)]
    steps = [len(drawn[k]) for k in order]
    whole = stack_of([task.network for task in running])
    batches = _Batches(running, [drawn[k] for k in order])
    stack = first_of(whole, len(running))
    optimizer = running[0].settings.optimizer.build(stack.values())
    losses: list[list[Tensor]] = [[] for _ in tasks]
    for step in range(steps[0]):
        before_each_step()
        count = sum(step < number for number in steps)
        if count < len(running):
            running, stack = running[:count], first_of(whole, count)
            optimizer = optimizer.of_first(count, list(stack.values()))
        values = _step(running, stack, optimizer, batches.following(count))
        for k, value in zip(order, values.unbind(), strict=False):
            losses[k].append(value)
    unstack(whole, [tasks[k].network for k in order])
    return losses


def _rows_with_a_known_entry(task: Task) -> list[Index]:
    """Row numbers of the batches of all epochs, drawn as ``training.local.train`` draws them."""
    settings, count = task.settings, len(task.exams)
    useful = np.asarray(task.exams.known.any(1))
    return [
        rows
        for _ in range(settings.epochs)
        for rows in rows_of_batches(count, settings.batch_size, task.generator)
        if useful[rows].any()
    ]


@dataclass(frozen=True)
class _Stacked:
    """Batches as one (K, B, …); the first ``sizes[k]`` rows are client k's, the others no one's."""

    image: Tensor
    target: Tensor
    known: Tensor
    sizes: list[int]


class _Batches:
    """The batches of one step after the other, gathered into memory that is used again."""

    def __init__(self, tasks: Sequence[Task], drawn: Sequence[list[Index]]) -> None:
        self._exams = [task.exams for task in tasks]
        self._device = tasks[0].network.head.weight.device
        self._rows: list[Iterator[Index]] = [
            read_ahead(exams.images, iter(rows))
            for exams, rows in zip(self._exams, drawn, strict=True)
        ]
        first = self._exams[0]
        shape = len(tasks), max((len(rows) for own in drawn for rows in own), default=0)
        self._image = np.zeros((*shape, first.images.shape[1]), np.float32)
        self._target = np.zeros((*shape, first.target.shape[1]), np.float32)
        self._known = np.zeros(self._target.shape, np.bool_)

    def following(self, count: int) -> _Stacked:
        """The next batches of the first so many clients."""
        sizes = []
        for k in range(count):
            exams, rows = self._exams[k], next(self._rows[k])
            sizes.append(len(rows))
            self._image[k, : len(rows)] = exams.images[rows]
            self._target[k, : len(rows)] = exams.target[rows]
            self._known[k, : len(rows)] = exams.known[rows]
        image, target, known = (
            torch.from_numpy(own[:count, : max(sizes)]).to(self._device)
            for own in (self._image, self._target, self._known)
        )
        return _Stacked(image, target, known, sizes)


def _step(running: Sequence[Task], stack: Stack, optimizer: Optimizer, batch: _Stacked) -> Tensor:
    """One step of each client, on its own batch; their losses (K,)."""
    optimizer.zero_grad()
    with computing_in(running[0].settings.precision, batch.image.device):
        logits = scores(running[0].network, stack, batch.image).float()
    values = _losses([task.loss for task in running], logits, batch)
    values.sum().backward()  # type: ignore[no-untyped-call]
    _finish_gradients(running, stack)
    optimizer.step()
    return values.detach()


def _shared(losses: Sequence[Loss]) -> list[Loss]:
    """The losses, the same object wherever they are equal; one that has no hash equals none."""
    found: dict[object, Loss] = {}
    return [found.setdefault(loss if _has_hash(loss) else id(loss), loss) for loss in losses]


def _has_hash(loss: Loss) -> bool:
    try:
        hash(loss)
    except TypeError:  # a field is a list or an array
        return False
    return True


def _losses(losses: Sequence[Loss], logits: Tensor, batch: _Stacked) -> Tensor:
    """The loss (K,) of each client, of its own rows alone; the same one of as many rows at once."""
    alike: dict[tuple[int, int], list[int]] = {}
    for k, (loss, size) in enumerate(zip(losses, batch.sizes, strict=True)):
        alike.setdefault((id(loss), size), []).append(k)
    if len(alike) == 1:
        return _each(losses[0], logits, batch.target, batch.known)
    values: list[Tensor] = [logits] * len(losses)
    for (_, size), who in alike.items():
        own = (tensor[who, :size] for tensor in (logits, batch.target, batch.known))
        for k, value in zip(who, _each(losses[who[0]], *own).unbind(), strict=True):
            values[k] = value
    return torch.stack(values)


def _each(loss: Loss, logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """A loss (K,) of (K, B, L); one after the other where it looks at values, as vmap cannot."""
    if len(logits) > 1:
        try:
            return torch.vmap(loss)(logits, target, known)
        except RuntimeError:
            pass
    return torch.stack([loss(*own) for own in zip(logits, target, known, strict=True)])


@torch.no_grad()
def _finish_gradients(running: Sequence[Task], stack: Stack) -> None:
    """Add each client's gradient term, and cap the norm of each client's gradient."""
    gradients = {name: own.grad for name, own in stack.items() if own.grad is not None}
    for k, task in enumerate(running):
        if task.gradient_term is None:
            continue
        for name, value in task.gradient_term({n: own[k] for n, own in stack.items()}).items():
            if name in gradients:
                gradients[name][k].add_(value)
    most = running[0].settings.clip_norm
    if most:
        squares = [own.flatten(1).square().sum(1) for own in gradients.values()]
        norm = torch.stack(squares).sum(0).sqrt()
        factor = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_ has it
        for own in gradients.values():
            own.mul_(factor.view(-1, *[1] * (own.dim() - 1)))
