"""Dealing patients into parts so that every label has its share in every part.

K. Sechidis, G. Tsoumakas and I. Vlahavas, "On the stratification of multi-label data", ECML PKDD
2011: the rarest label is dealt first, and each example goes where its label is needed most. Here
whole patients are dealt, who may carry a label on several images, and all patients of equal weight
at once: the same rule, in a few hundred array operations instead of one step a patient. They are
dealt by their rarest label alone, so a part can have too much of a frequent one before its own turn
comes: then otherwise equal patients change places. Where every patient has one image, each label
comes out as evenly as in the paper's algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    that they carry, about 4 µs each, instead of many at once by their rarest column: for parts
    that should get unequal shares of different columns.
    """
    totals = counts.sum(0)
    order = np.argsort(totals, kind="stable")
    order = np.concatenate([order[order < num_first], order[order >= num_first]])
    dealing = _Dealing(
        counts=counts,
        wanted=wanted,
        scale=np.maximum(totals, 1) ** 2.0,
        need=wanted.astype(np.float64),
        part=np.full(len(counts), -1, np.intp),
        fewest=len(counts) + 1 if one_by_one else 2 * len(wanted),
    )
    all_blocks = _blocks(counts, order, generator)
    for place, (column, blocks) in enumerate(zip(order.tolist(), all_blocks, strict=True)):
        if place > 0 and not one_by_one:
            _make_room(dealing, order[:place], column)
        _deal_column(dealing, blocks, column, generator)
    return dealing.part


@dataclass(frozen=True)
class _Dealing:
    """What dealing works on; ``need`` (K, C) and ``part`` (P,) are written as it goes on.

    ``scale`` (C,) is the square of all that there is of a column, by which a need counts.
    ``fewest`` patients of one weight are dealt at once, fewer are placed one by one.
    """

    counts: Counts
    wanted: Floats
    scale: Floats
    need: Floats
    part: npt.NDArray[np.intp]
    fewest: int


def _blocks(
    counts: Counts, order: npt.NDArray[np.intp], generator: np.random.Generator
) -> Iterator[list[npt.NDArray[np.intp]]]:
    """For each column in the order, the patients who carry none before it, in blocks of one weight.

    The heaviest block comes first. In a block, patients who carry the same columns stand beside
    each other, otherwise at random.
    """
    first, key = _first_columns(counts, order)
    weight = counts[np.arange(len(counts)), order[first]]
    heaviest = weight.max(initial=0) + 1
    block = first * heaviest + (heaviest - 1 - weight)  # its number, in the order of dealing
    shuffled = np.empty(len(counts), np.intp)
    shuffled[generator.permutation(len(counts))] = np.arange(len(counts))
    shuffled = shuffled[np.lexsort((_small(key)[shuffled], _small(block)[shuffled]))]
    starts = np.flatnonzero(np.diff(block[shuffled], prepend=-1))
    blocks = np.split(shuffled, starts[1:])
    place = first[shuffled[starts]]
    for column in range(len(order)):
        yield [blocks[number] for number in np.flatnonzero(place == column).tolist()]


def _first_columns(counts: Counts, order: npt.NDArray[np.intp]) -> tuple[Counts, Counts]:
    """The place in the order of the first column that each patient carries (P,); and a key (P,)
    that puts patients beside each other who carry the same columns.
    """
    present = counts > 0
    first, key = np.zeros((2, len(counts)), np.int64)
    nothing_yet = np.ones(len(counts), bool)
    for place, column in enumerate(order.tolist()):
        nothing_yet &= ~present[:, column]
        first += nothing_yet
        if place < _KEY_BITS:
            key = 2 * key + present[:, column]
    return first, key


def _small(numbers: Counts) -> npt.NDArray[np.unsignedinteger]:
    """The same in as few bytes as hold them: NumPy sorts one or two bytes by counting."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def _make_room(dealing: _Dealing, before: npt.NDArray[np.intp], column: int) -> None:
    """While a part has over one image too many of a column, let patients of it change places with
    patients of the part that needs most, who carry equally much of every column dealt ``before``.

    So what is dealt stays as it is. Where no such patients are left, the part stays too full.
    """
    need = dealing.need
    while need[:, column].min() < -1:
        full, needy = int(need[:, column].argmin()), int(need[:, column].argmax())
        giving, taking = _equal_but_for(dealing, before, column, full, needy)
        number = round(min(-need[full, column], max(need[needy, column], 0)))
        giving, taking = giving[:number], taking[:number]
        if not len(giving):
            return
        moved = (dealing.counts[giving] - dealing.counts[taking]).sum(0)
        need[full] += moved
        need[needy] -= moved
        dealing.part[giving], dealing.part[taking] = needy, full


def _equal_but_for(
    dealing: _Dealing, before: npt.NDArray[np.intp], column: int, full: int, needy: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Patients of one part with an image of the column, and as many of another without (n,) each.

    The two of a pair carry equally much of each column ``before``.
    """
    images = dealing.counts[:, column]
    giving = np.flatnonzero((dealing.part == full) & (images == 1))
    taking = np.flatnonzero((dealing.part == needy) & (images == 0))
    carried = dealing.counts[np.ix_(np.append(giving, taking), before)]
    kind = np.unique(carried, axis=0, return_inverse=True)[1].ravel()
    one, other = _pairs(kind[: len(giving)], kind[len(giving) :])
    return giving[one], taking[other]


def _pairs(one: Counts, other: Counts) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places (n,) each of equal numbers in two lists, none twice, the smallest numbers first."""
    of_one, of_other = np.argsort(one, kind="stable"), np.argsort(other, kind="stable")
    one, other = one[of_one], other[of_other]
    partner = np.arange(len(one)) - np.searchsorted(one, one) + np.searchsorted(other, one)
    has_one = partner < np.searchsorted(other, one, side="right")
    return of_one[has_one], of_other[partner[has_one]]


def _deal_column(
    dealing: _Dealing,
    blocks: list[npt.NDArray[np.intp]],
    column: int,
    generator: np.random.Generator,
) -> None:
    """Deal the blocks of one column, and take what they carry off the need.

    Many patients of one weight are shared out by what is needed of the column. Few are placed one
    by one by all that they carry: a heavy one could overfill a column that is dealt later.
    """
    need = dealing.need
    at_first = dealing.wanted[:, column].clip(min=0)
    at_first = at_first if at_first.any() else np.ones(len(need))
    for block in blocks:
        if len(block) < dealing.fewest:
            _place_one_by_one(dealing, block, at_first > 0)
            continue
        short = np.where(at_first > 0, need[:, column].clip(min=0), 0)
        short = short if short.any() else at_first
        numbers = _apportion(len(block), short, generator)
        by_part = block[_spread(numbers, generator)]
        dealing.part[by_part] = np.repeat(np.arange(len(need)), numbers)
        some = np.flatnonzero(numbers)
        starts = np.cumsum(numbers)[some] - numbers[some]
        need[some] -= np.add.reduceat(dealing.counts.take(by_part, axis=0), starts, axis=0)


def _place_one_by_one(
    dealing: _Dealing, block: npt.NDArray[np.intp], allowed: npt.NDArray[np.bool_]
) -> None:
    """Put each patient into the allowed part where Σ (need / total)² falls most."""
    need = dealing.need
    never = np.where(allowed, 0, -np.inf)
    carried = dealing.counts[block].astype(np.float64)
    pull = carried / dealing.scale
    parts = np.empty(len(block), np.intp)
    for place in range(len(block)):
        parts[place] = k = (need @ pull[place] + never).argmax()
        need[k] -= carried[place]
    dealing.part[block] = parts


def _apportion(number: int, short: Floats, generator: np.random.Generator) -> Counts:
    """Share out a number (K,) in proportion to what is short; the remainders to the largest."""
    quota = number * short / short.sum()
    whole: Counts = np.floor(quota).astype(np.int64)
    remainder = np.where(short > 0, quota - whole, -1)
    largest = np.lexsort((generator.random(len(short)), -remainder))
    whole[largest[: number - int(whole.sum())]] += 1
    return whole


def _spread(numbers: Counts, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Places in a sequence (ΣN,) of each part in turn, ``numbers`` (K,) of them, spread evenly."""
    parts = np.repeat(np.arange(len(numbers)), numbers)
    within = np.arange(len(parts)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    position = (within + generator.random(len(numbers))[parts]) / numbers[parts]
    places = np.empty(len(parts), np.intp)
    places[np.argsort(position, kind="stable")] = np.arange(len(parts))
    return places
