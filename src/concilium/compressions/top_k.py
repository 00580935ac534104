"""The k entries of the delta with the largest magnitude: C(x)_i = x_i where |x_i| is among them.

Stich, Cordonnier, Jaggi: "Sparsified SGD with Memory", NeurIPS 2018, Definition 2.2 and Algorithm 1
(arXiv 1809.07599), where top-k with memory converges as fast as SGD does: k of d entries leave at
most 1 − k/d of the squared norm out. Also Lin, Han, Mao, Wang, Dally: "Deep Gradient Compression",
ICLR 2018 (arXiv 1712.01887).

As in the first paper the k entries are those of the whole delta; the second takes a share of each
tensor. Ours is the delta of a whole local training, not of one step, so the second paper's momentum
correction and factor masking have no place: a hospital's momentum begins anew in every round. Left
out are its warm-up and its clipping. Of equal magnitudes the entry that stands first is taken, by
the order of names and then of places, so that what is sent does not depend on the machine. The
definitions were checked against the authors' code of both papers and the abstract of the first,
not their pages.

``error_feedback`` = false is for comparison: entries that are small at every hospital are then
never sent, however much they would add up to.

Sends: values (float32) and places (int32) of k entries, the shape of each tensor; weights and
extras as without compression.
Costs: a round is one model down and twice the fraction of one up (8 bytes an entry, 4 a dimension
of each tensor); each hospital keeps one model, in checkpoints too.
Secure sum: no, which entries are largest tells of a hospital by itself, and a masked sum needs all.
Differential privacy: yes, clients may train by DP-SGD, after which choosing reveals no more; not
with a sum that is clipped and noised, whose bound the residual could pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.compressions.contract import Compression
from concilium.foundation.checks import fraction, positive
from concilium.foundation.named_tensors import NamedTensors

_PLACES, _SHAPE, _VALUES = "places|", "shape|", "values|"


@dataclass(frozen=True)
class TopK(Compression):
    """``fraction`` in (0, 1] of the d entries of a delta is sent: k = ⌈fraction · d⌉."""

    fraction: float = 0.1
    error_feedback: bool = True

    def __post_init__(self) -> None:
        positive(fraction=self.fraction)
        fraction(fraction=self.fraction)

    def pack(self, delta: NamedTensors) -> NamedTensors:
        names = sorted(delta)
        flat = torch.cat([delta[name].flatten() for name in names])
        chosen = largest(flat, math.ceil(self.fraction * flat.numel()))
        packed: dict[str, Tensor] = {}
        start = 0
        for name in names:
            tensor = delta[name]
            places = chosen[start : start + tensor.numel()].nonzero().squeeze(1)
            packed[_PLACES + name] = places.int()
            packed[_VALUES + name] = tensor.flatten()[places]
            packed[_SHAPE + name] = torch.tensor(tensor.shape, dtype=torch.int32)
            start += tensor.numel()
        return NamedTensors(packed)

    def unpack(self, packed: NamedTensors) -> NamedTensors:
        names = [name.removeprefix(_SHAPE) for name in packed if name.startswith(_SHAPE)]
        return NamedTensors({name: _unpacked(packed, name) for name in names})

    def fits(self, packed: NamedTensors, delta: NamedTensors) -> bool:
        starts = (_PLACES, _VALUES, _SHAPE)
        if packed.keys() != {start + name for start in starts for name in delta}:
            return False
        return all(_is_sparse(packed, name, tensor) for name, tensor in delta.items())


def largest(flat: Tensor, k: int) -> Tensor:
    """Mask (d,) of the k entries of largest magnitude, 1 ≤ k ≤ d; of equal ones the first.

    >>> largest(torch.tensor([1.0, -3.0, 2.0, -2.0]), 2).tolist()
    [False, True, True, False]
    """
    magnitude = flat.abs()
    least = magnitude.topk(k).values.min()
    mask = magnitude > least
    ties = (magnitude == least).nonzero().squeeze(1)
    mask[ties[: k - int(mask.sum())]] = True
    return mask


def _unpacked(packed: NamedTensors, name: str) -> Tensor:
    values, places = packed[_VALUES + name], packed[_PLACES + name]
    shape = packed[_SHAPE + name].tolist()
    dense = values.new_zeros(math.prod(shape))
    dense[places.long()] = values
    return dense.view(shape)


def _is_sparse(packed: NamedTensors, name: str, like: Tensor) -> bool:
    """Whether values stand at ascending places of a tensor of this shape."""
    places, values, shape = (packed[start + name] for start in (_PLACES, _VALUES, _SHAPE))
    if (places.dtype, values.dtype, shape.dtype) != (torch.int32, torch.float32, torch.int32):
        return False
    if shape.ndim != 1 or shape.tolist() != list(like.shape):
        return False
    if places.ndim != 1 or places.shape != values.shape:
        return False
    bounds = places.new_tensor([-1]), places.new_tensor([like.numel()])
    return bool((torch.cat([bounds[0], places, bounds[1]]).diff() > 0).all())
