"""Which clients take part in a round."""

from __future__ import annotations

from collections.abc import Sequence

from concilium.foundation.seeds import numpy_generator


def cohort(clients: Sequence[str], participation: float, seed: int, round_: int) -> tuple[str, ...]:
    """A uniform sample without replacement of round(participation·K) clients, at least one.

    The cohort of a round depends on the seed and the round alone, so a resumed run asks the same
    clients; it keeps the order of ``clients``.
    """
    size = max(1, round(participation * len(clients)))
    if size >= len(clients):
        return tuple(clients)
    chosen = numpy_generator(seed, "cohort", round_).choice(len(clients), size, replace=False)
    return tuple(clients[i] for i in sorted(chosen))
