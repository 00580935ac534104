"""Running totals of named tensors: each incoming value is added in place, then forgotten.

A total belongs to the sum that is being made. Nobody sees its tensors before it is done, and what
is added is never changed, so ``NamedTensors`` stay immutable for everybody else. A server thus
holds one total and one incoming value (and one tensor of it in the total's type), for 10 clients as
for 1,000.

Two arithmetics, which a study may choose between:

``float``: float64. An order of clients has one result, bit for bit; another order may differ in the
last bits.

``fixed_point``: integers modulo 2^64, in units of 2^-32. Every client's entries are rounded once,
and from there on sums are exact: any order, and any grouping, gives the same bits. It is the form
in which a secure sum adds a mask to each value, which vanishes from the total.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from concilium.foundation.checks import one_of
from concilium.foundation.errors import DivergenceError

Arithmetic = Literal["float", "fixed_point"]

UNIT = 2.0**-32
"""What an integer of a fixed-point sum counts: entries are rounded to multiples of it."""

_WORD = 64


class RunningTotal(ABC):
    """The sum so far of named tensors; all clients give the same names."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] | None = None

    def add(self, client: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a client's tensors in place. Raises KeyError where its names are not the others'.

        A tensor of another shape is added by the rules of broadcasting. After an error the total is
        of no use: some tensors may have been added.
        """
        if self._sums is None:
            self._sums = {name: self._encoded(client, name, t) for name, t in tensors.items()}
            return
        if self._sums.keys() != tensors.keys():
            differ = sorted(self._sums.keys() ^ tensors.keys())
            raise KeyError(f"names of {client!r} differ: {differ}")
        for name, tensor in tensors.items():
            running = self._sums[name]
            if running.shape == tensor.shape:
                self._accumulate(running, client, name, tensor)
            else:
                self._sums[name] = running + self._encoded(client, name, tensor)

    def value(self) -> dict[str, Tensor]:
        """The total, float64; the end of the running total, whose tensors these may be."""
        sums, self._sums = self._sums or {}, None
        return {name: self._decoded(tensor) for name, tensor in sums.items()}

    @abstractmethod
    def _encoded(self, client: str, name: str, tensor: Tensor) -> Tensor:
        """A new tensor in the arithmetic of the total."""

    @abstractmethod
    def _accumulate(self, running: Tensor, client: str, name: str, tensor: Tensor) -> None:
        """Add to one tensor of the total in place."""

    @abstractmethod
    def _decoded(self, tensor: Tensor) -> Tensor:
        """One tensor of the total as float64."""


class FloatTotal(RunningTotal):
    """A sum in float64, in the order in which tensors are added."""

    def _encoded(self, client: str, name: str, tensor: Tensor) -> Tensor:
        return tensor.to(torch.float64, copy=True)

    def _accumulate(self, running: Tensor, client: str, name: str, tensor: Tensor) -> None:
        running.add_(tensor)

    def _decoded(self, tensor: Tensor) -> Tensor:
        return tensor


class FixedPointTotal(RunningTotal):
    """A sum of at most ``num_clients`` values K in units of 2^-32, modulo 2^64: order is no matter.

    Range: an entry must lie within ±2^31 / K, so that no sum of K of them can overflow (K = 20:
    ±1.07e8; K = 1,000: ±2.1e6). Resolution: an entry is rounded to the nearest multiple of 2^-32
    (2.3e-10), a tie to the even one, so the total is within K · 2^-33 of the exact sum. The bound
    is absolute: what is added up (weight times delta) should not be far below 1, as it is not where
    weights count images or entries.

    Raises DivergenceError, which names client and tensor, for an entry that is not finite or
    outside the range.
    """

    def __init__(self, num_clients: int) -> None:
        super().__init__()
        self._num_clients = num_clients

    def _encoded(self, client: str, name: str, tensor: Tensor) -> Tensor:
        try:
            return to_fixed_point(tensor, self._num_clients)
        except DivergenceError as error:
            raise DivergenceError(f"{name!r} of client {client!r}: {error}") from None

    def _accumulate(self, running: Tensor, client: str, name: str, tensor: Tensor) -> None:
        running.add_(self._encoded(client, name, tensor))

    def _decoded(self, tensor: Tensor) -> Tensor:
        return from_fixed_point(tensor)


def to_fixed_point(tensor: Tensor, num_clients: int = 1) -> Tensor:
    """Entries as int64 in units of 2^-32, to the nearest one, ties to even.

    Raises DivergenceError for an entry that is not finite, or outside of ±2^31 / num_clients.

    >>> to_fixed_point(torch.tensor([1.0, -0.5, 2**-34])).tolist()
    [4294967296, -2147483648, 0]
    """
    largest = _largest(tensor)
    if not largest < float("inf"):
        raise DivergenceError("an entry is not finite")
    # In whole numbers, for the limit itself is no float where num_clients is no power of 2.
    room = 2 ** (_WORD - 1)
    if largest >= room or round(largest / UNIT) * num_clients >= room:
        limit = 2 ** (_WORD - 1) * UNIT / num_clients
        raise DivergenceError(
            f"an entry of ±{largest:.3g} is too large for a fixed-point sum of {num_clients} "
            f"clients (±{limit:.3g}): lower the learning rate, weigh by smaller numbers, or set "
            'sum = "float"'
        )
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.double()
    return tensor.mul(1 / UNIT).round_().long()  # a power of 2: exact in float32, too


def from_fixed_point(units: Tensor) -> Tensor:
    """float64 of int64 in units of 2^-32: exact below 2^53 units, else the nearest float64."""
    return units.double().mul_(UNIT)


def running_total(arithmetic: Arithmetic, num_clients: int) -> RunningTotal:
    """An empty total of at most so many clients. Raises InputError for an unknown arithmetic."""
    one_of(("float", "fixed_point"), sum=arithmetic)
    return FloatTotal() if arithmetic == "float" else FixedPointTotal(num_clients)


def _largest(tensor: Tensor) -> float:
    """Largest magnitude of the entries; NaN where one is NaN, 0 without an entry."""
    if not tensor.numel():
        return 0.0
    low, high = torch.aminmax(tensor)
    return max(-float(low), float(high))
