"""Dealing patients into parts so that every label has its share in every part.

K. Sechidis, G. Tsoumakas and I. Vlahavas, "On the stratification of multi-label data", ECML PKDD
2011: the rarest label is dealt first, and each example goes where its label is needed most. Here
whole patients are dealt, who may carry a label on several images, and all patients of equal weight
at once: the same rule, in a few hundred array operations instead of one step a patient. Where every
patient has one image, each label comes out as evenly as in the paper's algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_KEY_BITS = 60  # of the integer that says which columns a patient has


def deal(
    counts: Counts,
    wanted: Floats,
    generator: np.random.Generator,
    num_first: int = 0,
    one_by_one: bool = False,
) -> npt.NDArray[np.intp]:
    """Deal P patients into K parts, (P,) the part of each.

    ``counts`` (P, C) ≥ 0: what each patient carries of each column (images with a label, images at
    all); everybody carries something. ``wanted`` (K, C): how much of a column should end in each
    part; where none is wanted, none is brought for that column's sake. Columns are dealt from the
    rarest to the most frequent, the first ``num_first`` before all others; the result does not
    depend on their order unless two have equal totals. ``one_by_one`` places every patient by all
    that they carry, about 10 µs each, instead of many at once by their rarest column: for parts
    that should get unequal shares of different columns.
    """
    totals = counts.sum(0)
    order = np.argsort(totals, kind="stable")
    order = np.concatenate([order[order < num_first], order[order >= num_first]])
    group, key = _first_columns(counts, order)
    ties = generator.permutation(len(counts))
    dealing = _Dealing(
        counts=counts,
        wanted=wanted,
        pull=counts / np.maximum(totals, 1) ** 2.0,
        need=wanted.astype(np.float64),
        part=np.full(len(counts), -1, np.intp),
        fewest=len(counts) + 1 if one_by_one else 2 * len(wanted),
    )
    for column in order.tolist():
        members = np.flatnonzero(group == column)
        members = members[np.lexsort((ties[members], key[members], -counts[members, column]))]
        _deal_column(dealing, members, column, generator)
    return dealing.part


@dataclass(frozen=True)
class _Dealing:
    """What dealing works on; ``need`` (K, C) and ``part`` (P,) are written as it goes on.

    ``fewest`` patients of one weight are dealt at once, fewer are placed one by one.
    """

    counts: Counts
    wanted: Floats
    pull: Floats
    need: Floats
    part: npt.NDArray[np.intp]
    fewest: int


def _first_columns(counts: Counts, order: npt.NDArray[np.intp]) -> tuple[Counts, Counts]:
    """The first column in the order that each patient carries (P,); and a key (P,) that puts
    patients beside each other who carry the same columns.
    """
    present = counts[:, order] > 0
    group = order[present.argmax(1)]
    bits = min(len(order), _KEY_BITS)
    key = present[:, :bits].astype(np.int64) @ (1 << np.arange(bits, dtype=np.int64)[::-1])
    return group, key


def _deal_column(
    dealing: _Dealing,
    members: npt.NDArray[np.intp],
    column: int,
    generator: np.random.Generator,
) -> None:
    """Deal the members of one column, the heaviest first, and take what they carry off the need.

    Many patients of one weight are shared out by what is needed of the column. Few are placed one
    by one by all that they carry: a heavy one could overfill a column that is dealt later.
    """
    need, weight = dealing.need, dealing.counts[members, column]
    at_first = dealing.wanted[:, column].clip(min=0)
    at_first = at_first if at_first.any() else np.ones(len(need))
    for block in np.split(members, np.flatnonzero(np.diff(weight)) + 1):
        if len(block) < dealing.fewest:
            _place_one_by_one(dealing, block, at_first > 0)
            continue
        short = np.where(at_first > 0, need[:, column].clip(min=0), 0)
        short = short if short.any() else at_first
        dealt = _interleave(_apportion(len(block), short, generator), generator)
        dealing.part[block] = dealt
        for k in np.unique(dealt):
            need[k] -= dealing.counts[block[dealt == k]].sum(0)


def _place_one_by_one(
    dealing: _Dealing, block: npt.NDArray[np.intp], allowed: npt.NDArray[np.bool_]
) -> None:
    """Put each patient into the allowed part where Σ (need / total)² falls most."""
    for patient in block:
        gain = np.where(allowed, dealing.need @ dealing.pull[patient], -np.inf)
        k = int(gain.argmax())
        dealing.part[patient] = k
        dealing.need[k] -= dealing.counts[patient]


def _apportion(number: int, short: Floats, generator: np.random.Generator) -> Counts:
    """Share out a number (K,) in proportion to what is short; the remainders to the largest."""
    quota = number * short / short.sum()
    whole: Counts = np.floor(quota).astype(np.int64)
    remainder = np.where(short > 0, quota - whole, -1)
    largest = np.lexsort((generator.random(len(short)), -remainder))
    whole[largest[: number - int(whole.sum())]] += 1
    return whole


def _interleave(numbers: Counts, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Parts k, each ``numbers[k]`` times, spread evenly over the sequence (ΣN,)."""
    parts = np.repeat(np.arange(len(numbers)), numbers)
    within = np.arange(len(parts)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    position = (within + generator.random(len(numbers))[parts]) / numbers[parts]
    spread: npt.NDArray[np.intp] = parts[np.argsort(position, kind="stable")]
    return spread
