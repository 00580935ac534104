"""Many local trainings at once: the steps of several clients taken together, by batched products.

Where inputs are features and networks small, a step is little arithmetic and much of everything
else: Python, the start of each operator, bookkeeping. Here the parameters of K clients are stacked
to (K, …), their batches to (K, B, …), and each layer is one product for all of them. Each client
keeps its own loss, of its own scores alone, so what is computed is what ``training.local.train``
computes, up to the rounding of a batched product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from concilium.data.batch import Batch
from concilium.data.dataset import Exams
from concilium.losses.contract import Loss
from concilium.networks.contract import Network
from concilium.training.local import (
    GradientTerm,
    LocalTraining,
    Trained,
    computing_in,
    drawn_batches,
    mean_of,
)
from concilium.training.optimizers import Optimizer

Stack = dict[str, Tensor]
"""By name, the tensors of K clients as one (K, …)."""


@dataclass(frozen=True)
class Task:
    """One client's local training, as ``training.local.train`` takes it."""

    network: Network
    exams: Exams
    loss: Loss
    settings: LocalTraining
    generator: torch.Generator
    gradient_term: GradientTerm | None = None


def train_together(tasks: Sequence[Task]) -> list[Trained]:
    """Train the networks of all tasks in place, all of one architecture and with the same settings.

    Raises DivergenceError where the loss of one of them is not finite.
    """
    training = [_Training.of(task) for task in tasks]
    settings = tasks[0].settings
    shared = _shared_loss([task.loss for task in tasks])
    running = list(training)
    stack = _stacked([task.network for task in tasks])
    optimizer = settings.optimizer.build(stack.values())
    while running:
        drawn = [next(own.batches, None) for own in running]
        rows = [k for k, batch in enumerate(drawn) if batch is not None]
        if len(rows) < len(running):
            for k, own in enumerate(running):
                if drawn[k] is None:
                    own.finish(stack, k)
            running = [running[k] for k in rows]
            if not running:
                break
            stack = {name: _leaf(tensor[rows]) for name, tensor in stack.items()}
            optimizer = optimizer.of_rows(rows, list(stack.values()))
        batches = [batch for batch in drawn if batch is not None]
        _step(running, stack, optimizer, batches, shared)
    return [Trained(len(own.losses), mean_of(own.losses)) for own in training]


@dataclass
class _Training:
    """One of the trainings, while it runs."""

    task: Task
    batches: Iterator[Batch]
    losses: list[Tensor] = field(default_factory=list)

    @staticmethod
    def of(task: Task) -> _Training:
        task.network.train()
        device = task.network.head.weight.device
        drawn = drawn_batches(task.exams, task.settings, task.generator, device)
        return _Training(task, drawn)

    @torch.no_grad()
    def finish(self, stack: Stack, k: int) -> None:
        """Copy its tensors from the stack into its network."""
        own = dict(self.task.network.named_parameters())
        for name, tensor in stack.items():
            own[name].copy_(tensor[k])


def _step(
    running: Sequence[_Training],
    stack: Stack,
    optimizer: Optimizer,
    drawn: Sequence[Batch],
    shared: Loss | None,
) -> None:
    """One step of each client, on its own batch."""
    task = running[0].task
    device = task.network.head.weight.device
    batch = _padded([own.to(device) for own in drawn])
    optimizer.zero_grad()
    network = task.network

    def scores(own: Stack, image: Tensor) -> Tensor:
        found: Tensor = functional_call(network, own, (image,))
        return found

    with computing_in(task.settings.precision, device):
        logits = torch.vmap(scores)(stack, batch.image)
    if shared is not None and len({len(own.target) for own in drawn}) == 1:
        values = torch.vmap(shared)(logits.float(), batch.target, batch.known)
    else:
        values = _losses([own.task.loss for own in running], logits.float(), drawn)
    values.sum().backward()  # type: ignore[no-untyped-call]
    _finish_gradients(running, stack)
    optimizer.step()
    for own, value in zip(running, values.detach(), strict=True):
        own.losses.append(value)


def _losses(losses: Sequence[Loss], logits: Tensor, drawn: Sequence[Batch]) -> Tensor:
    """The loss (K,) of each client, of its own rows alone."""
    values = [
        loss(own[: len(batch.target)], batch.target, batch.known)
        for loss, own, batch in zip(losses, logits, drawn, strict=True)
    ]
    return torch.stack(values)


def _shared_loss(losses: Sequence[Loss]) -> Loss | None:
    """The loss of all clients, if it is one and the same, and vmap can take it."""
    if not all(_alike(own, losses[0]) for own in losses):
        return None
    labels = torch.zeros(2, 2, 3)  # two clients of two images
    try:
        torch.vmap(losses[0])(labels, labels, labels == 0)
    except RuntimeError:  # it decides by values, or by a number of labels that it was bound to
        return None
    return losses[0]


def _alike(one: Loss, other: Loss) -> bool:
    """Whether two losses have the same settings and the same counts."""
    if one is other:
        return True
    if type(one) is not type(other) or not is_dataclass(one):
        return False
    return all(_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return one is other or (not isinstance(one, Tensor | np.ndarray) and one == other)


@torch.no_grad()
def _finish_gradients(running: Sequence[_Training], stack: Stack) -> None:
    """Add each client's gradient term, and cap the norm of each client's gradient."""
    gradients = {name: own.grad for name, own in stack.items() if own.grad is not None}
    for k, own in enumerate(running):
        term = own.task.gradient_term
        if term is None:
            continue
        for name, value in term({name: tensor[k] for name, tensor in stack.items()}).items():
            if name in gradients:
                gradients[name][k].add_(value)
    most = running[0].task.settings.clip_norm
    if most:
        squares = [own.flatten(1).square().sum(1) for own in gradients.values()]
        norm = torch.stack(squares).sum(0).sqrt()
        factor = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_ has it
        for own_gradient in gradients.values():
            own_gradient.mul_(factor.view(-1, *[1] * (own_gradient.dim() - 1)))


def _stacked(networks: Sequence[Network]) -> Stack:
    """The parameters that train, of all networks."""
    parameters = [dict(network.named_parameters()) for network in networks]
    names = [name for name, own in parameters[0].items() if own.requires_grad]
    return {name: _leaf(torch.stack([own[name] for own in parameters])) for name in names}


def _leaf(tensor: Tensor) -> Tensor:
    """A stack of parameters that takes gradients.

    Matrices are stored transposed: in this form a product's backward pass gives their gradients,
    which are otherwise copied at every step, for as long as the products take.
    """
    stored = tensor.mT.contiguous().mT if tensor.dim() == 3 else tensor.clone()
    return stored.detach().requires_grad_()


def _padded(drawn: Sequence[Batch]) -> Batch:
    """The batches as one (K, B, …); rows that a smaller one has not are zeros, nothing known."""
    rows = max(len(batch.target) for batch in drawn)

    def stacked(tensors: Sequence[Tensor]) -> Tensor:
        if all(len(own) == rows for own in tensors):
            return torch.stack(list(tensors))
        whole = tensors[0].new_zeros(len(tensors), rows, *tensors[0].shape[1:])
        for place, own in zip(whole, tensors, strict=True):
            place[: len(own)] = own
        return whole

    return Batch(
        stacked([batch.image for batch in drawn]),
        stacked([batch.target for batch in drawn]),
        stacked([batch.known for batch in drawn]),
    )
