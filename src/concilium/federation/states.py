"""What lasts from round to round: at the server, and at a client (never sent)."""

from __future__ import annotations

from dataclasses import dataclass, field

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


@dataclass(frozen=True)
class ServerState:
    """The server's model after ``round`` rounds, and what its algorithm remembers.

    ``num_clients`` is the size K of the whole federation, whoever takes part in a round.
    """

    round: int
    model: NamedTensors
    num_clients: int
    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    label_statistics: LabelStatistics | None = None


@dataclass(frozen=True)
class ClientState:
    """What a client remembers between rounds. It never leaves the client.

    ``extras`` is its algorithm's memory; ``private`` the tensors of the network that stay at home
    (``federation.sharing``), as its last training left them; ``residual`` what a compression of its
    updates has not sent yet (``compressions.contract``), in units of the delta.
    """

    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    private: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    residual: NamedTensors = field(default_factory=lambda: NamedTensors({}))
