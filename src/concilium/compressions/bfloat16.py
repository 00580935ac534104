"""Each entry of the delta in 16 bits: C(x) = x rounded to bfloat16 (8 bits of precision).

bfloat16 is the upper half of float32: the same sign and exponent, 7 bits of the fraction. Rounding
is to the nearest, a tie to the even one, so an entry is off by at most one part in 256, whatever
its size. For the format: Kalamkar, Mudigere, Mellempudi, Das and others: "A Study of BFLOAT16 for
Deep Learning Training", 2019 (arXiv 1905.12322; its abstract was seen). They train in it; here it
is only the form in which a delta travels, and models stay in float32.

Without error feedback by default: what rounding leaves out is small and of either sign, and a
memory costs a model a hospital. Entries below 2^-126 lose precision, those above 3.39e38 become
infinite, as no delta should.

Sends: the delta in bfloat16; weights and extras as without compression.
Costs: a round is one model down and half a one up; with error feedback a hospital keeps one more.
Secure sum: no, a masked value has 64 bits whatever it had before, so nothing would be saved.
Differential privacy: yes, clients may train by DP-SGD, after which rounding reveals no more; not
with a sum that is clipped and noised, whose bound the residual could pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from concilium.compressions.contract import Compression
from concilium.foundation.named_tensors import NamedTensors


@dataclass(frozen=True)
class BFloat16(Compression):
    """``error_feedback``: whether what rounding left out is added to the next delta."""

    error_feedback: bool = False

    def pack(self, delta: NamedTensors) -> NamedTensors:
        return delta.map(lambda tensor: tensor.to(torch.bfloat16))

    def unpack(self, packed: NamedTensors) -> NamedTensors:
        return packed.map(Tensor.float)
