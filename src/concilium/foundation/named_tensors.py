"""Named tensors with arithmetic: models, deltas, updates and their weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView

import torch
from torch import Tensor


class NamedTensors(Mapping[str, Tensor]):
    """An immutable mapping name → tensor with ``+ − ×``, ``safe_divide`` and ``norm``.

    Arithmetic between two of them goes name by name (the names must be equal); arithmetic with a
    number goes over all tensors. Nothing is ever changed in place.

    >>> one = NamedTensors({"a": torch.tensor([1.0, 2.0])})
    >>> (one + one * 2)["a"].tolist()
    [3.0, 6.0]
    """

    __slots__ = ("_below", "_digest", "_tensors")

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = {name: tensor.detach() for name, tensor in tensors.items()}
        self._digest = ""
        self._below: dict[str, NamedTensors] = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    # Mapping's own three are Python, name by name: an eighth of the bookkeeping of a small round.
    def keys(self) -> KeysView[str]:
        """The names."""
        return self._tensors.keys()

    def values(self) -> ValuesView[Tensor]:
        """The tensors."""
        return self._tensors.values()

    def items(self) -> ItemsView[str, Tensor]:
        """Names and tensors."""
        return self._tensors.items()

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}{tuple(t.shape)}" for name, t in self.items())
        return f"NamedTensors({shapes})"

    def map(self, function: Callable[[Tensor], Tensor]) -> NamedTensors:
        """The same names, with the function applied to each tensor."""
        return NamedTensors({name: function(tensor) for name, tensor in self.items()})

    def combine(
        self, other: NamedTensors, function: Callable[[Tensor, Tensor], Tensor]
    ) -> NamedTensors:
        """The function applied name by name. Raises KeyError where the names differ."""
        if self.keys() != other.keys():
            raise KeyError(f"names differ: {sorted(self.keys() ^ other.keys())}")
        return NamedTensors({name: function(t, other[name]) for name, t in self.items()})

    def __add__(self, other: NamedTensors) -> NamedTensors:
        return self.combine(other, torch.add)

    def __sub__(self, other: NamedTensors) -> NamedTensors:
        return self.combine(other, torch.sub)

    def __mul__(self, other: NamedTensors | float) -> NamedTensors:
        if isinstance(other, NamedTensors):
            return self.combine(other, torch.mul)
        return self.map(lambda tensor: tensor * other)

    __rmul__ = __mul__

    def safe_divide(self, divisor: NamedTensors) -> NamedTensors:
        """Quotient name by name, with 0 (not NaN) where the divisor is 0: nobody had a say."""

        def divide(tensor: Tensor, by: Tensor) -> Tensor:
            quotient = tensor / torch.where(by == 0, torch.ones_like(by), by)
            return torch.where(by == 0, torch.zeros_like(quotient), quotient)

        return self.combine(divisor, divide)

    def norm(self) -> float:
        """Euclidean norm over all tensors together, in float64."""
        return math.sqrt(sum(float(t.double().square().sum()) for t in self.values()))

    def num_bytes(self) -> int:
        """Bytes of all tensors, as they travel."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.values())

    def below(self, start: str) -> NamedTensors:
        """Those whose names begin with ``start``, by their full names; made once."""
        if start not in self._below:
            own = {name: tensor for name, tensor in self.items() if name.startswith(start)}
            self._below[start] = NamedTensors(own)
        return self._below[start]

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and bytes, in the order of the names; taken once."""
        self._digest = self._digest or self._hashed()
        return self._digest

    def _hashed(self) -> str:
        sha = hashlib.sha256()
        for name in sorted(self):
            tensor = self[name].cpu().contiguous()
            sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            sha.update(tensor.numpy().tobytes())
        return sha.hexdigest()
