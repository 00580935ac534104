"""What a compression is: a smaller form of a delta, and a memory of what it left out.

With error feedback a client adds what earlier rounds left out (its residual e) to its delta Δ
before it is compressed, and keeps what is left out now:

    s = C(Δ + e),    e ← Δ + e − s,

so that after every round Σ s + e = Σ Δ: what is left out is late, not lost. Stich, Cordonnier,
Jaggi: "Sparsified SGD with Memory", NeurIPS 2018, Algorithm 1 (arXiv 1809.07599); Karimireddy,
Rebjock, Stich, Jaggi: "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", ICML
2019, Algorithm 2 (arXiv 1901.09847). There, one gradient step is compressed; here, the delta of a
whole local training. The first was checked against the authors' code, the second against its
abstract.

C sees the delta itself, not the weighted delta a·Δ, and the residual is one of deltas: the weight a
may change from round to round, and what was left out under one weight must not come back under
another. It also keeps the rows of rare labels, whose weights are small everywhere, from being taken
for unimportant: a mean delta does not depend on how large all weights of a row are. Where the
weight is 0 nothing is sent (it would have no effect), and the residual stays.

Weights and extras travel as they are: weights are few, and an extra means what its algorithm says,
for which a memory of deltas is no remedy. So SCAFFOLD, whose extras are as large as its model,
saves less than half of its bytes. What an algorithm remembers at a client (SCAFFOLD, FedDyn)
follows the delta that was trained, not the one that arrived.

What travels does not add up before it is decoded: whoever decodes sees each update by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch

from concilium.federation.messages import Update
from concilium.federation.states import ClientState
from concilium.foundation.errors import DivergenceError
from concilium.foundation.named_tensors import NamedTensors


@dataclass(frozen=True)
class Encoded:
    """An update as it travels: named tensors, and the numbers of the update.

    ``packed`` is the delta in the form that the compression gives it.
    """

    packed: NamedTensors
    weight: NamedTensors
    extras: NamedTensors
    num_clients: int
    loss: float
    loss_weight: float

    def num_bytes(self) -> int:
        """Bytes of all tensors, each in its own type."""
        return sum(part.num_bytes() for part in (self.packed, self.weight, self.extras))


class Compression(ABC):
    """A compression. A frozen dataclass; its fields are its settings.

    ``error_feedback``: whether a client remembers what was left out (in ``ClientState.residual``,
    as many bytes as the model in float32, in every checkpoint too).

    Laws, run on every file of this folder: what is sent and what is remembered add up to all that
    was trained; ‖Δ − C(Δ)‖ < ‖Δ‖, so that error feedback works at all; weights, extras and losses
    arrive as they were sent; bytes are counted from what travels, and with default settings are
    fewer; permuting labels permutes what is sent where no two magnitudes are equal; the residual
    does not depend on weights; nothing given is changed.
    """

    error_feedback: bool = False

    @abstractmethod
    def pack(self, delta: NamedTensors) -> NamedTensors:
        """C(Δ) as it travels: tensors of any names and types. ``delta`` is finite, float32."""

    @abstractmethod
    def unpack(self, packed: NamedTensors) -> NamedTensors:
        """C(Δ) with the names and shapes of Δ, float32, from what travelled alone."""

    def fits(self, packed: NamedTensors, delta: NamedTensors) -> bool:
        """Whether tensors from elsewhere are C(Δ) of a Δ with these names and shapes.

        Only then are they unpacked. By default they must have the names, types and shapes that
        nothing but zeros packs to; a form whose shapes depend on what is in it says more.
        """
        form = self.pack(delta * 0.0)
        return form.keys() == packed.keys() and all(
            (tensor.dtype, tensor.shape) == (packed[name].dtype, packed[name].shape)
            for name, tensor in form.items()
        )

    def encode(self, update: Update, residual: NamedTensors) -> tuple[Encoded, NamedTensors]:
        """One client's update as it travels, and its new residual (empty without error feedback).

        ``residual`` has the names and shapes of the delta, or is empty. Raises DivergenceError for
        an update that is not finite: a residual would never be rid of it.
        """
        wanted = update.weighted_delta.safe_divide(update.weight)
        if residual:
            wanted = wanted + residual
        if not all(bool(tensor.isfinite().all()) for tensor in wanted.values()):
            raise DivergenceError("an update that is not finite cannot be compressed")
        heard = wanted.combine(update.weight, lambda own, a: torch.where(a > 0, own, 0.0))
        packed = self.pack(heard)
        encoded = Encoded(
            packed,
            update.weight,
            update.extras,
            update.num_clients,
            update.loss,
            update.loss_weight,
        )
        left = wanted - self.unpack(packed) if self.error_feedback else NamedTensors({})
        return encoded, left

    def decode(self, encoded: Encoded) -> Update:
        """The update that the server adds up."""
        return Update(
            self.unpack(encoded.packed) * encoded.weight,
            encoded.weight,
            encoded.extras,
            encoded.num_clients,
            encoded.loss,
            encoded.loss_weight,
            encoded.num_bytes(),
        )

    def carry(self, update: Update, state: ClientState) -> tuple[Update, ClientState]:
        """The update as it arrives, and the client's memory of what did not."""
        encoded, residual = self.encode(update, state.residual)
        return self.decode(encoded), replace(state, residual=residual)


CONTRACT = Compression
