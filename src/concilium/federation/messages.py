"""What travels: a broadcast to the clients, updates back, and their total.

Everything that leaves a client is a value with ``+``; the server needs the total only. ``total``
adds replies one at a time, updates in place. One seed gives one model, bit for bit: sums of floats
are made in the order of the cohort whatever the order in which replies come, and sums in fixed
point are the same in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar, cast

import torch
from torch import Tensor

from concilium.federation.running_total import (
    Arithmetic,
    FixedPointTotal,
    RunningTotal,
    running_total,
)
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics

LEAST_WEIGHT = 2.0**-12
"""Of a fixed-point sum: a delta under this weight is still rounded to 1e-6 only."""


class Summable(Protocol):
    """A value that adds up over clients: ``+`` is associative and commutative up to rounding."""

    def __add__(self, other: Self) -> Self: ...


S = TypeVar("S", bound=Summable)


@dataclass(frozen=True)
class Broadcast:
    """What the server sends to every client of a cohort.

    ``model`` are the tensors that travel; ``extras`` other tensors of the algorithm (a control
    variate, say); ``label_statistics`` the federation's total, once it is known. Local steps are
    ``pace`` > 0 times as long as the learning rate says.
    """

    round: int
    model: NamedTensors
    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    label_statistics: LabelStatistics | None = None
    pace: float = 1.0

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

    ``num_bytes`` are the bytes in which it travels: those of its tensors, unless it is told others
    (a compression's; they add up, too).
    """

    weighted_delta: NamedTensors
    weight: NamedTensors
    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    num_clients: int = 1
    loss: float = 0.0
    loss_weight: float = 0.0
    num_bytes: int = -1

    def __post_init__(self) -> None:
        if self.num_bytes < 0:
            object.__setattr__(self, "num_bytes", travelling_bytes(self))

    def __add__(self, other: Update) -> Update:
        return Update(
            self.weighted_delta + other.weighted_delta,
            self.weight + other.weight,
            self.extras + other.extras,
            self.num_clients + other.num_clients,
            self.loss + other.loss,
            self.loss_weight + other.loss_weight,
            self.num_bytes + other.num_bytes,
        )

    def mean_delta(self) -> NamedTensors:
        """Σ a_k (w_k − w) / Σ a_k, float32; 0 where nobody had a say."""
        return self.weighted_delta.safe_divide(self.weight).map(Tensor.float)

    def mean_loss(self) -> float:
        """Mean training loss of the clients; NaN where nobody had a known entry."""
        return self.loss / self.loss_weight if self.loss_weight else float("nan")


def travelling_bytes(update: Update) -> int:
    """Bytes of an update's tensors, each in its own type: what travels without compression."""
    return sum(part.num_bytes() for part in (update.weighted_delta, update.weight, update.extras))


def total(
    replies: Iterable[tuple[str, S]], order: Sequence[str], arithmetic: Arithmetic = "float"
) -> S:
    """Sum of the replies (client, value), added one at a time in the given order of clients.

    Updates are added in place to a running total of the arithmetic (``running_total``) that nobody
    else sees; no value given is changed. Other values are added with ``+``.

    As float, a reply that comes before its turn is held until then; clients that never answer are
    passed over at the end. In fixed point, which is for updates, each is added as it comes: the
    order does not matter.

    Raises KeyError for a client outside the order or one that answers twice, ValueError where
    nobody answered, and DivergenceError for an update that does not fit into fixed point,
    or has a weight between 0 and ``LEAST_WEIGHT`` there.
    """
    replies = _each_once(replies, order)
    if arithmetic == "float":
        replies = _in_turn(replies, order)
    running: Any = None
    for client, value in replies:
        if isinstance(value, Update):
            if running is None:
                running = _RunningUpdate(running_total(arithmetic, len(order)))
            running.add(client, value)
        elif arithmetic == "float":
            running = value if running is None else running + value
        else:
            raise TypeError(f"only updates are added in fixed point, not {type(value).__name__}")
        del value
    if running is None:
        raise ValueError("no client answered: there is nothing to add up")
    return cast(S, running.update() if isinstance(running, _RunningUpdate) else running)


def _each_once(replies: Iterable[tuple[str, S]], order: Sequence[str]) -> Iterator[tuple[str, S]]:
    """The replies as they come. Raises KeyError for a stranger, and for a second answer."""
    outstanding = set(order)
    for client, value in replies:
        if client not in outstanding:
            raise KeyError(f"{client!r} answers twice or is not in the cohort")
        outstanding.remove(client)
        yield client, value
        del value


def _in_turn(replies: Iterable[tuple[str, S]], order: Sequence[str]) -> Iterator[tuple[str, S]]:
    """The replies in the given order: one that comes before its turn waits."""
    waiting: dict[str, S] = {}
    turn = 0
    for client, value in replies:
        waiting[client] = value
        del value
        while turn < len(order) and order[turn] in waiting:
            yield order[turn], waiting.pop(order[turn])
            turn += 1
    for client in order[turn:]:
        if client in waiting:
            yield client, waiting.pop(client)


class _RunningUpdate:
    """The sum so far of updates: a running total of all their tensors, and of their numbers."""

    def __init__(self, tensors: RunningTotal) -> None:
        self._tensors = tensors
        self._in_fixed_point = isinstance(tensors, FixedPointTotal)
        self._num_clients = self._num_bytes = 0

    def add(self, client: str, update: Update) -> None:
        if self._in_fixed_point:
            check_weights(client, update.weight)
        parts = {
            f"{part}|{name}": tensor
            for part in ("weighted_delta", "weight", "extras")
            for name, tensor in getattr(update, part).items()
        }
        for number in ("loss", "loss_weight"):
            parts[number] = torch.tensor(getattr(update, number), dtype=torch.float64)
        self._tensors.add(client, parts)
        self._num_clients += update.num_clients
        self._num_bytes += update.num_bytes

    def update(self) -> Update:
        """The total; the running one ends with it."""
        summed = self._tensors.value()

        def part(own: str) -> NamedTensors:
            start = f"{own}|"
            named = {n.removeprefix(start): t for n, t in summed.items() if n.startswith(start)}
            return NamedTensors(named)

        return Update(
            part("weighted_delta"),
            part("weight"),
            part("extras"),
            self._num_clients,
            float(summed["loss"]),
            float(summed["loss_weight"]),
            self._num_bytes,
        )


def check_weights(client: str, weights: NamedTensors) -> None:
    """Raise DivergenceError for a weight under which fixed point leaves little of a delta."""
    for name, weight in weights.items():
        if bool(((weight > 0) & (weight < LEAST_WEIGHT)).any()):
            raise DivergenceError(
                f"the weight of {name!r} of client {client!r} is below {LEAST_WEIGHT:g}: in fixed "
                "point little of its delta would be left; weigh by images or entries, or set "
                'sum = "float"'
            )


def scalar_weight(model: Mapping[str, Tensor], weight: float) -> NamedTensors:
    """The same weight for every tensor of a model."""
    return NamedTensors({name: torch.tensor(float(weight)) for name in model})
