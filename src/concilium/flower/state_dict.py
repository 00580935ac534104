"""A torch state dict as the server sees it: what an algorithm moves, and what is only averaged.

Parameters go through the server's algorithm. Buffers (running statistics of normalisation layers,
and every integer or boolean tensor) are the mean of the hospitals' own, weighted as the body of the
network is: a server optimiser with memory would push a variance below 0. Integers stay integers,
rounded to the nearest, and one that nobody changed is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord

from concilium.federation.messages import Update
from concilium.foundation.errors import InputError, Problem
from concilium.foundation.named_tensors import NamedTensors

Arrays = Mapping[str, npt.NDArray[Any]]

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""Last parts of the names of torch's own buffers."""

AVERAGED = "averaged/"
"""Before the names of the buffers' sums in the extras of an update; after it, delta or weight."""


@dataclass(frozen=True)
class StateDict:
    """A model's arrays by name, the layer with one row a label, and further names of buffers."""

    arrays: Arrays
    head: str
    buffers: Collection[str] = ()

    def __post_init__(self) -> None:
        named = [name for name in self.arrays if name.startswith(f"{self.head}.")]
        rows = {self.arrays[name].shape[:1] for name in named if not self._is_buffer(name)}
        if len(rows) != 1 or () in rows:
            layers = ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in self.arrays))
            raise InputError(
                Problem(
                    f"head={self.head!r}",
                    "is no layer of the model whose tensors have one row a label",
                    f"its layers are: {layers}",
                )
            )

    @property
    def num_labels(self) -> int:
        """Rows of the head."""
        start = f"{self.head}."
        own = (n for n in self.arrays if n.startswith(start) and not self._is_buffer(n))
        return int(self.arrays[next(own)].shape[0])

    def parameters(self) -> NamedTensors:
        """The tensors that the algorithm moves, at least float32."""
        own = {name: t for name, t in self._wide.items() if not self._is_buffer(name)}
        return NamedTensors(own)

    def update(self, arrays: Arrays, weigh: Callable[[NamedTensors], NamedTensors]) -> Update:
        """The update of one reply: weighted deltas of parameters; those of buffers as extras.

        ``weigh`` gives the weight of each tensor of a delta, whose head is named ``head.`` and
        whose other tensors ``body.``, as weightings have it.
        """
        delta = _wide(arrays) - self._wide
        own_names = {self._role(name): name for name in delta}
        weight = weigh(NamedTensors({role: delta[name] for role, name in own_names.items()}))
        weights = {own_names[role]: tensor for role, tensor in weight.items()}
        extras = {}
        for name in filter(self._is_buffer, delta):
            extras[f"{AVERAGED}delta/{name}"] = delta[name] * weights[name].double()
            extras[f"{AVERAGED}weight/{name}"] = weights[name].double()
        moved = {name: tensor for name, tensor in delta.items() if not self._is_buffer(name)}
        own = NamedTensors({name: weights[name] for name in moved})
        return Update(NamedTensors(moved) * own, own, NamedTensors(extras))

    def moved(self, parameters: NamedTensors, total: Update) -> ArrayRecord:
        """The next model: given parameters and the mean of the buffers, each in its own type."""
        arrays = {}
        for name, old in self.arrays.items():
            if self._is_buffer(name):
                new = _added(old, _mean(total.extras, name))
            else:
                new = parameters[name].numpy().astype(old.dtype)
            arrays[name] = Array(np.asarray(new))
        return ArrayRecord(arrays)

    @cached_property
    def _wide(self) -> NamedTensors:
        return _wide(self.arrays)

    def _is_buffer(self, name: str) -> bool:
        return (
            not np.issubdtype(self.arrays[name].dtype, np.floating)
            or name.rpartition(".")[2] in RUNNING
            or name in self.buffers
        )

    def _role(self, name: str) -> str:
        """The name of a tensor as weightings know it."""
        start = f"{self.head}."
        if name.startswith(start) and not self._is_buffer(name):
            return "head." + name.removeprefix(start)
        return f"body.{name}"


def arrays_of(record: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a record of the server's own."""
    return {name: array.numpy() for name, array in record.items()}


def _wide(arrays: Arrays) -> NamedTensors:
    """Tensors of one's own: at least float32 of floats, float64 of integers and booleans."""

    def least(dtype: np.dtype[Any]) -> np.dtype[Any]:
        floating = np.issubdtype(dtype, np.floating)
        return np.promote_types(dtype, np.float32 if floating else np.float64)

    tensors = {name: torch.from_numpy(a.astype(least(a.dtype))) for name, a in arrays.items()}
    return NamedTensors(tensors)


def _mean(extras: NamedTensors, name: str) -> npt.NDArray[np.float64]:
    """Weighted mean of what hospitals changed of a buffer, float64; 0 where nobody had a say."""
    delta, weight = (
        NamedTensors({name: extras[f"{AVERAGED}{kind}/{name}"]}) for kind in ("delta", "weight")
    )
    return np.asarray(delta.safe_divide(weight)[name].numpy(), np.float64)


def _added(old: npt.NDArray[Any], change: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """A buffer after a mean change, in its own type: the nearest integer, the nearer of two."""
    if old.dtype == np.bool_:
        return np.asarray(old + change > 0.5)
    if np.issubdtype(old.dtype, np.integer):
        return np.asarray(old.astype(np.int64) + np.rint(change).astype(np.int64)).astype(old.dtype)
    return np.asarray(old + change).astype(old.dtype)
