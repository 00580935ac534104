"""What lasts from round to round: at the server, and at a client (never sent)."""

from __future__ import annotations

from dataclasses import dataclass, field

from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics


@dataclass(frozen=True)
class ServerState:
    """The server's model after ``round`` rounds, and what its algorithm remembers."""

    round: int
    model: NamedTensors
    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
    label_statistics: LabelStatistics | None = None


@dataclass(frozen=True)
class ClientState:
    """What a client's algorithm remembers between rounds. It never leaves the client."""

    extras: NamedTensors = field(default_factory=lambda: NamedTensors({}))
