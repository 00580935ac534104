"""What tests of heads share: solving in a process, dealing exams out, pooled answers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Exams
from concilium.federation.sharing import travelling
from concilium.heads.contract import Head, Solution, Solved
from concilium.orchestration.phases import asking
from tests.worlds import linear_network, runtime

Parts = dict[str, dict[str, Exams]]


def solve(parts: Parts, head: Head) -> Solved:
    return head.solve(asking(runtime(parts)), travelling(linear_network(parts)))


def solution(parts: Parts, head: Head) -> Solution:
    return head.solution(asking(runtime(parts)), travelling(linear_network(parts)))


def chosen(own: Exams, rows: npt.NDArray[np.int64]) -> Exams:
    """Some rows of exams."""
    return Exams(np.asarray(own.images)[rows], own.target[rows], own.known[rows], own.patient[rows])


def dealt(pooled: Exams, owner: npt.NDArray[np.int64], num_hospitals: int) -> Parts:
    """The exams, each at its owner; training and validation are the same."""
    parts = {}
    for k in range(num_hospitals):
        own = chosen(pooled, np.flatnonzero(owner == k))
        parts[f"hospital-{k}"] = {"train": own, "validation": own}
    return parts


def largest_gap(left: Solution, right: Solution) -> float:
    """The largest difference of two solutions, in the rows that both have."""
    assert bool((left.solved == right.solved).all())
    rows = left.solved
    gaps = [(left.weight - right.weight)[rows], (left.bias - right.bias)[rows]]
    if left.coupling is not None and right.coupling is not None:
        gaps.append(left.coupling - right.coupling)
    return max(float(gap.abs().max()) if gap.numel() else 0.0 for gap in gaps)


def standardised(images: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (images - images.mean(0)) / images.std(0)
