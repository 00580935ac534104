"""Values as bytes and back: safetensors, with the shape of the value as JSON in the metadata.

What travels are plain values, tensors, arrays and frozen dataclasses of them. Bytes from elsewhere
are not trusted: no pickle, no import, no class but a frozen dataclass of ours that is loaded (or of
a package that the study names), made from exactly its own fields. Whatever is wrong with them,
``decode`` raises ``WireError`` with a short reason that repeats nothing of what was sent.

Bits are kept: also NaN and infinity, the order of names, and the order of strides, by which sums
over a tensor round.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from concilium.foundation.errors import WireError
from concilium.foundation.named_tensors import NamedTensors

LIMIT = 2**30
"""Bytes of a message that are read at most, unless another limit is given."""
MOST_HEADER = 2**21
"""Bytes of the header: names and places of tensors, and the value's shape.

As JSON and as values they take up to forty times as much memory, 80 MiB. A tensor has some 150: the
largest network here, with as much again in extras, takes 170,000.
"""
DEEPEST = 40
"""How many values may stand inside each other."""

TRUSTED = tuple(
    f"concilium.{part}"
    for part in (
        "compressions",
        "evaluation",
        "federation",
        "heads",
        "joint",
        "labels",
        "samplings",
    )
)
"""Packages whose frozen dataclasses may travel."""

KINDS = {str(kind).removeprefix("torch."): kind for kind in (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
)}  # fmt: skip
_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_KEY = "value"


def encode(value: object, also: Sequence[str] = ()) -> bytes:
    """A value as bytes; the same value gives the same bytes.

    ``also`` are further packages whose frozen dataclasses may travel. A list arrives as a tuple.
    Raises WireError for a value that cannot travel.
    """
    writer = _Writer(also)
    try:
        tree = json.dumps(writer.tree(value, 0), allow_nan=False, separators=(",", ":"))
        data: bytes = to_safetensors(writer.tensors, {_KEY: tree})
    except (ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise WireError(f"a {type(value).__name__} cannot travel: {error}") from None
    if _header_of(data) > MOST_HEADER:
        raise WireError(f"a {type(value).__name__} cannot travel: it has too many parts")
    return data


def decode(data: bytes, limit: int = LIMIT, also: Sequence[str] = ()) -> Any:
    """The value of bytes from elsewhere. Raises WireError, and nothing else, where they are broken.

    Memory stays within twice the length of the data, which is at most ``limit``, and forty times
    that of the header, which is at most ``MOST_HEADER``.
    """
    if len(data) > limit:
        raise WireError(f"{len(data):,} bytes are more than the {limit:,} that are read")
    try:
        tree, tensors = _tree(data), read_safetensors(data)
        reader = _Reader(tensors, also)
        value = reader.value(tree, 0)
    except WireError:
        raise
    except RecursionError:
        raise WireError("values stand too deep inside each other") from None
    except Exception as error:  # whatever a stranger's bytes can provoke
        raise WireError(f"these bytes are no message ({type(error).__name__})") from None
    if reader.used != tensors.keys():
        raise WireError("the message holds tensors that belong to nothing")
    return value


def _tree(data: bytes) -> object:
    """The value's shape, from the header; its tensors are checked by safetensors."""
    length = _header_of(data)
    if len(data) < 8 or not 2 <= length <= min(len(data) - 8, MOST_HEADER):
        raise WireError("the message is cut short, or lies about its header")
    header = json.loads(data[8 : 8 + length])
    return json.loads(header["__metadata__"][_KEY])


def _header_of(data: bytes) -> int:
    """Bytes of the header, as the message says itself."""
    return int.from_bytes(data[:8], "little")


def _class(name: str, also: Sequence[str]) -> type[Any]:
    """A frozen dataclass by its name, among the modules that are loaded already."""
    module, _, own = name.partition(":")
    trusted = any(module == start or module.startswith(f"{start}.") for start in (*TRUSTED, *also))
    found = getattr(sys.modules.get(module), own, None) if trusted and own.isidentifier() else None
    # Its own name and module: what a module merely imported, it does not vouch for.
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (module, own):
        raise WireError("the message holds a value of a class that may not travel")
    if not dataclasses.is_dataclass(found) or not vars(found)["__dataclass_params__"].frozen:
        raise WireError("the message holds a value of a class that is no frozen dataclass")
    return found


def _fields(of: Any) -> list[str]:
    return [own.name for own in dataclasses.fields(of) if own.init]


class _Writer:
    """Turns a value into a tree of JSON and numbered tensors."""

    def __init__(self, also: Sequence[str]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._also = also
        self._places: set[int] = set()

    def tree(self, value: Any, depth: int) -> Any:
        """JSON of a value: a list is a tuple, an object with one name all that JSON has not."""
        if depth > DEEPEST:
            raise WireError("values stand too deep inside each other")
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if value - value == 0 else {"float": str(value)}
        if isinstance(value, tuple | list) and type(value) in (tuple, list):
            return [self.tree(own, depth + 1) for own in value]
        if isinstance(value, NamedTensors):
            return {"named": [[name, self._tensor(tensor)] for name, tensor in value.items()]}
        if isinstance(value, Mapping):
            return {"map": [[_text(k), self.tree(own, depth + 1)] for k, own in value.items()]}
        return self._other(value, depth)

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": self._tensor(value)}
        if isinstance(value, np.generic):
            return {"number": self._tensor(torch.from_numpy(np.array(value)))}
        if type(value) is np.ndarray:
            return {"array": self._tensor(torch.from_numpy(_readable(value)))}
        name = f"{type(value).__module__}:{type(value).__qualname__}"
        _class(name, self._also)
        own = [self.tree(getattr(value, field), depth + 1) for field in _fields(value)]
        return {"of": [name, _fields(value), own]}

    def _tensor(self, tensor: Tensor) -> list[Any]:
        """The number of a tensor, and the order of its strides where it is not the usual one."""
        if tensor.dtype not in KINDS.values() or tensor.layout != torch.strided:
            raise WireError(f"a tensor of {tensor.dtype} cannot travel")
        dense = tensor.detach().cpu().resolve_neg()
        order = sorted(range(dense.ndim), key=lambda axis: -_stride(dense, axis))
        flat = dense.permute(order).contiguous()
        place = flat.untyped_storage().data_ptr()
        if place in self._places or flat.untyped_storage().nbytes() != flat.nbytes:
            flat = flat.clone()
        self._places.add(flat.untyped_storage().data_ptr())
        number = len(self.tensors)
        self.tensors[f"{number:06d}"] = flat
        return [number] if order == list(range(dense.ndim)) else [number, order]


def _stride(tensor: Tensor, axis: int) -> int:
    """How far apart entries lie along an axis; one of a single entry stays where it is."""
    if tensor.shape[axis] > 1:
        return tensor.stride(axis)
    return max((tensor.stride(k) for k in range(axis + 1, tensor.ndim)), default=0)


def _readable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array that torch can read: in the machine's byte order, with strides that go forwards."""
    order = "<" if sys.byteorder == "little" else ">"
    if array.dtype.byteorder not in ("=", "|", order) or array.dtype.hasobject:
        raise WireError(f"an array of {array.dtype} cannot travel")
    forwards = all(step >= 0 for step in array.strides)
    return array if forwards and array.flags.writeable else array.copy(order="K")


def _text(key: object) -> str:
    if type(key) is not str:
        raise WireError("only text can be a name in what travels")
    return key


class _Reader:
    """Makes a value of a tree of JSON and numbered tensors."""

    def __init__(self, tensors: Mapping[str, Tensor], also: Sequence[str]) -> None:
        self.used: set[str] = set()
        self._tensors, self._also = tensors, also
        self._made: dict[str, Callable[[Any, int], Any]] = {
            "float": self._number,
            "map": self._map,
            "named": self._named,
            "of": self._instance,
            "tensor": lambda own, depth: self._tensor(own),
            "array": lambda own, depth: self._tensor(own).numpy(),
            "number": lambda own, depth: self._tensor(own).numpy()[()],
        }

    def value(self, tree: Any, depth: int) -> Any:
        """The value of JSON. Raises WireError, or whatever a wrong shape provokes."""
        if depth > DEEPEST:
            raise WireError("values stand too deep inside each other")
        if tree is None or isinstance(tree, bool | int | float | str):
            return tree
        if isinstance(tree, list):
            return tuple(self.value(own, depth + 1) for own in tree)
        ((kind, own),) = tree.items()
        made = self._made.get(kind)
        if made is None:
            raise WireError("the message holds a value of a kind that does not exist")
        return made(own, depth)

    def _number(self, own: Any, depth: int) -> float:
        return _NOT_FINITE[own]

    def _map(self, own: Any, depth: int) -> dict[str, Any]:
        return _unlike({_text(name): self.value(each, depth + 1) for name, each in own}, own)

    def _named(self, own: Any, depth: int) -> NamedTensors:
        return NamedTensors(_unlike({_text(name): self._tensor(each) for name, each in own}, own))

    def _instance(self, parts: Any, depth: int) -> Any:
        name, names, values = parts
        made_of = _class(name, self._also)
        if names != _fields(made_of) or len(values) != len(names):
            raise WireError(f"a {made_of.__name__} of another version: its fields are others")
        own = [self.value(each, depth + 1) for each in values]
        return made_of(**dict(zip(names, own, strict=True)))

    def _tensor(self, place: Any) -> Tensor:
        number, *order = place
        name = f"{_whole(number):06d}"
        if name in self.used:
            raise WireError("a tensor of the message stands in two places")
        self.used.add(name)
        flat = self._tensors[name]
        if flat.dtype not in KINDS.values():
            raise WireError("the message holds a tensor of a type that may not travel")
        if flat.dtype is torch.bool and bool((flat.view(torch.uint8) > 1).any()):
            raise WireError("the message holds a truth value that is neither")
        if not order:
            return flat
        (axes,) = order
        return flat.permute([axes.index(axis) for axis in range(len(axes))])


def _whole(number: object) -> int:
    if type(number) is not int or number < 0:
        raise WireError("the message numbers its tensors wrongly")
    return number


def _unlike(found: dict[str, Any], pairs: Sequence[Any]) -> dict[str, Any]:
    """The names as they were, unless one stands twice."""
    if len(found) != len(pairs):
        raise WireError("a name stands twice in the message")
    return found
