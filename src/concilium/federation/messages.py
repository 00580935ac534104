"""What travels: a broadcast to the clients, updates back, and their total.

Everything that leaves a client is a value with ``+``; the server needs the total only. ``total``
adds replies one at a time, in the order of the cohort whatever the order in which they come, so
that one seed gives one model, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


class Summable(Protocol):
    """A value that adds up over clients: ``+`` is associative and commutative up to rounding."""

    def __add__(self, other: Self) -> Self: ...


S = TypeVar("S", bound=Summable)


@dataclass(frozen=True)
class Broadcast:
    """What the server sends to every client of a cohort.

    ``model`` are the tensors that travel; ``extras`` other tensors of the algorithm (a control
    variate, say); ``label_statistics`` the federation's total, once it is known.
    """

    round: int
    model: NamedTensors
    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    label_statistics: LabelStatistics | None = None

    def num_bytes(self) -> int:
        """Bytes of all tensors and counts, as they travel to one client."""
        statistics = self.label_statistics
        counts = 0 if statistics is None else statistics.num_bytes()
        return self.model.num_bytes() + self.extras.num_bytes() + counts


@dataclass(frozen=True)
class Update:
    """What a client sends back: ``weighted_delta`` = a·(w_k − w), and its weight a.

    ``weight`` has the names of the delta; each tensor is broadcastable to its parameter (a single
    number, or one a row of the head). ``extras`` are summed as they are; ``loss`` is a·(mean
    training loss) and ``loss_weight`` its a, so that their quotient is the cohort's mean.
    """

    weighted_delta: NamedTensors
    weight: NamedTensors
    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    num_clients: int = 1
    loss: float = 0.0
    loss_weight: float = 0.0

    def __add__(self, other: Update) -> Update:
        return Update(
            self.weighted_delta + other.weighted_delta,
            self.weight + other.weight,
            self.extras + other.extras,
            self.num_clients + other.num_clients,
            self.loss + other.loss,
            self.loss_weight + other.loss_weight,
        )

    def in_float64(self) -> Update:
        """The same update in float64, as the server adds it up."""
        return Update(
            self.weighted_delta.map(Tensor.double),
            self.weight.map(Tensor.double),
            self.extras.map(Tensor.double),
            self.num_clients,
            self.loss,
            self.loss_weight,
        )

    def mean_delta(self) -> NamedTensors:
        """Σ a_k (w_k − w) / Σ a_k, float32; 0 where nobody had a say."""
        return self.weighted_delta.safe_divide(self.weight).map(Tensor.float)

    def mean_loss(self) -> float:
        """Mean training loss of the clients; NaN where nobody had a known entry."""
        return self.loss / self.loss_weight if self.loss_weight else float("nan")


def total(replies: Iterable[tuple[str, S]], order: Sequence[str]) -> S:
    """Sum of the replies (client, value), added one at a time in the given order of clients.

    A reply that comes before its turn is held until then; clients that never answer are passed
    over at the end. Raises KeyError for a client outside the order or one that answers twice, and
    ValueError where nobody answered.
    """
    waiting: dict[str, S] = {}
    turn = 0
    running: S | None = None
    for client, value in replies:
        if client in waiting or client not in order[turn:]:
            raise KeyError(f"{client!r} answers twice or is not in the cohort")
        waiting[client] = value
        del value
        while turn < len(order) and order[turn] in waiting:
            running = _added(running, waiting.pop(order[turn]))
            turn += 1
    for client in order[turn:]:
        if client in waiting:
            running = _added(running, waiting.pop(client))
    if running is None:
        raise ValueError("no client answered: there is nothing to add up")
    return running


def _added(running: S | None, value: S) -> S:
    if isinstance(value, Update):
        value = value.in_float64()  # type: ignore[assignment]
    return value if running is None else running + value


def scalar_weight(model: Mapping[str, Tensor], weight: float) -> NamedTensors:
    """The same weight for every tensor of a model."""
    return NamedTensors({name: torch.tensor(float(weight)) for name in model})
