"""Head, medium and tail: how frequent a label is among the images on which it is known."""

from __future__ import annotations

from typing import Literal

from concilium.foundation.checks import fraction
from concilium.foundation.errors import InputError
from concilium.labels.statistics import LabelStatistics

FrequencyGroup = Literal["head", "medium", "tail"]

GROUPS: tuple[FrequencyGroup, ...] = ("head", "medium", "tail")


def frequency_groups(
    statistics: LabelStatistics, head: float = 0.10, tail: float = 0.01
) -> tuple[FrequencyGroup | None, ...]:
    """Group each label by its prevalence among known images (L,).

    Above ``head`` is head, at most ``tail`` is tail, the rest is medium. A label that is known on
    no image has no prevalence: it is None, never tail. Raises InputError unless
    0 ≤ tail ≤ head ≤ 1.
    """
    fraction(head=head, tail=tail)
    if tail > head:
        raise InputError(f"tail={tail!r} must be at most head={head!r}")

    def group(known: int, prevalence: float) -> FrequencyGroup | None:
        if known == 0:
            return None
        if prevalence > head:
            return "head"
        return "tail" if prevalence <= tail else "medium"

    return tuple(map(group, statistics.known.tolist(), statistics.prevalence.tolist()))
