"""The door: what a hospital sends is looked at before it is added to anything.

An answer must be of the form that the answer of a hospital without an exam has, ``nothing``: the
same types, names, tensor types and shapes; an axis of length 0 there is as long as a hospital needs
it. Numbers are finite where those of ``nothing`` are, and equal where they are not, and within what
sums still resolve. Counts and weights are not negative, and no larger than a hospital could say.
And as ``nothing`` has no exams, adding it changes nothing: an answer that it changes does not add
up with anybody's.

What this cannot see is an answer that could be true: wrong labels, or a model led astray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from concilium.evaluation.bootstrap import BootstrapSums
from concilium.evaluation.decoupling import LabelSetCounts
from concilium.evaluation.histograms import NUM_BINS
from concilium.evaluation.sums import EvaluationSums
from concilium.federation.messages import Update, check_weights
from concilium.federation.running_total import to_fixed_point
from concilium.foundation.errors import DivergenceError, DoorError
from concilium.foundation.named_tensors import NamedTensors
from concilium.labels.statistics import LabelStatistics

NOT_NEGATIVE = frozenset(
    {
        "complete",
        "contrasted",
        "count",
        "left_out",
        "log_loss",
        "loss_weight",
        "negatives",
        "positives",
        "predicted_and_known",
        "predicted_pairs",
        "probability",
        "second",
        "sites",
        "squared_error",
        "weight",
        "weight_squared",
    }
)
"""Fields of real numbers below which nothing is true, in whatever answer; whole numbers all are."""

PLACES = frozenset({"cells", "counts", "num_bytes"})
"""Fields of whole numbers that are no counts of exams: places, random weights, bytes."""

MOST_IN_A_CELL = 2**24
"""Of a resampled histogram, whose 32 bits more than a hundred hospitals must not overflow."""

MOST_REAL = 1e15
"""Of any real number: beside a larger one, sums in float64 forget what all others say."""

MOST_STEP = 1e6
"""Of an entry of a client's mean delta: a parameter that moved further ends every training."""

EXACT = 2**53
"""Whole numbers up to it add up exactly."""


@dataclass(frozen=True)
class Most:
    """The most that a hospital can say: its ``images``, and its ``weight`` in an update.

    ``in_fixed_point`` is the number of clients of a fixed-point sum, 0 where sums are of floats.
    """

    images: int = 10_000_000
    weight: float = 1e9
    in_fixed_point: int = 0


def check(value: Any, nothing: Any, most: Most) -> None:
    """Raise DoorError, with the rule that is broken and the place, unless a value may come in.

    The text names places of the form that was asked for, and repeats nothing that was sent.
    """
    check_form(value, nothing, most)
    if isinstance(value, Update):
        _check_update(value, most)
    else:
        _check_sum(value, nothing)


def check_form(value: Any, nothing: Any, most: Most, place: str = "") -> None:
    """Raise DoorError unless a value is of the form of ``nothing``; ``place`` is its name."""
    _Look(most).at(value, nothing, place)


@dataclass(frozen=True)
class _Look:
    """Goes through a value and the form that it should have side by side."""

    most: Most

    def at(self, value: Any, form: Any, place: str) -> None:
        """Compare what stands in one place; ``place`` is its name, "" at the top."""
        if type(value) is not type(form):
            raise DoorError("wrong_type", f"{_named(place)} is no {type(form).__name__}")
        if isinstance(form, NamedTensors):
            self._mapping(value, form, place)
        elif is_dataclass(form):
            for own in fields(form):
                where = f"{place}.{own.name}" if place else own.name
                self.at(getattr(value, own.name), getattr(form, own.name), where)
            _check_sense(value, place)
        elif isinstance(form, Mapping):
            self._mapping(value, form, place)
        elif isinstance(form, tuple):
            self._sequence(value, form, place)
        elif isinstance(form, Tensor | np.ndarray | np.generic):
            self._numbers(value, form, place)
        elif isinstance(form, bool | int | float):
            self._number(value, form, place)
        elif value != form:
            raise DoorError("wrong_value", f"{_named(place)} is not what was asked for")

    def _mapping(self, value: Mapping[str, Any], form: Mapping[str, Any], place: str) -> None:
        missing = sorted(form.keys() - value.keys())
        if missing:
            raise DoorError("wrong_names", f"{_named(place)} lacks {_few(missing)}")
        unknown = len(value.keys() - form.keys())
        if unknown:
            raise DoorError("wrong_names", f"{_named(place)} has {unknown} that nobody asked for")
        for name, own in form.items():
            self.at(value[name], own, f"{place}[{name!r}]")

    def _sequence(self, value: tuple[Any, ...], form: tuple[Any, ...], place: str) -> None:
        if len(value) != len(form):
            raise DoorError("wrong_shape", f"{_named(place)} should have {len(form)} entries")
        for number, own in enumerate(form):
            self.at(value[number], own, f"{place}[{number}]")

    def _numbers(self, value: Any, form: Any, place: str) -> None:
        if value.dtype != form.dtype:
            raise DoorError("wrong_dtype", f"{_named(place)} should be of {form.dtype}")
        wanted = tuple(form.shape)
        lengths = list(zip(value.shape, wanted, strict=False))
        if len(value.shape) != len(wanted) or any(own not in (0, has) for has, own in lengths):
            raise DoorError("wrong_shape", f"{_named(place)} should have the shape {wanted}")
        self._entries(_as_array(value), _as_array(form), place)

    def _number(self, value: float, form: float, place: str) -> None:
        if type(form) is int and abs(value) > EXACT:  # numpy has no room for all of them
            raise DoorError("too_much", f"{_named(place)} is larger than any hospital's")
        self._entries(np.asarray(value), np.asarray(form), place)

    def _entries(self, value: np.ndarray[Any, Any], form: Any, place: str) -> None:
        """Finite where the form is, else equal; and neither negative nor too large."""
        whole = value.dtype.kind in "iu"
        if value.dtype.kind == "f" and value.size:
            finite = np.isfinite(form)
            if form.size and not finite.all():
                if value.shape != form.shape or not _equal(value[~finite], form[~finite]):
                    raise DoorError("wrong_value", f"{_named(place)} is not what was asked for")
                value = value[finite]
            if not np.isfinite(value).all():
                raise DoorError("not_finite", f"{_named(place)} holds NaN or infinity")
            if (np.abs(value) > MOST_REAL).any():
                raise DoorError("out_of_range", f"{_named(place)} is beyond ±{MOST_REAL:g}")
        if not value.size or value.dtype.kind == "b":
            return
        own = place.partition("[")[0].rpartition(".")[2]
        if (whole or own in NOT_NEGATIVE) and value.min() < 0:
            raise DoorError("negative", f"{_named(place)} is below 0")
        if whole and value.max() > self._limit(own):
            raise DoorError("too_much", f"{_named(place)} is larger than any hospital's")

    def _limit(self, name: str) -> int:
        """The largest whole number in a field of this name."""
        if name in PLACES:
            return EXACT
        return self.most.images ** (2 if name.endswith("_squared") else 1)


def _check_sense(value: Any, place: str) -> None:
    """Raise DoorError for counts that no exams have."""
    match value:
        case LabelStatistics():
            possible = _are_counts(value)
        case EvaluationSums():
            own = value.statistics
            possible = bool(
                (value.positives.sum(1) == own.positives).all()
                and (value.negatives.sum(1) == own.negatives).all()
            )
        case LabelSetCounts():
            possible = bool((value.counts > 0).all())
        case BootstrapSums():
            inside = (value.cells < 2 * value.num_labels * NUM_BINS).all()
            possible = bool(inside and (value.counts < MOST_IN_A_CELL).all())
        case _:
            possible = True
    if not possible:
        raise DoorError("contradicts", f"{_named(place)}: no exams have these counts")


def _are_counts(own: LabelStatistics) -> bool:
    """Whether there can be such exams: each pair within each of its labels."""
    return bool(
        own.num_patients <= own.num_images
        and (own.num_patients > 0) == (own.num_images > 0)
        and (own.both_known <= own.num_images).all()
        and (own.both_present <= own.present_and_known).all()
        and (own.present_and_known <= own.both_known).all()
        and (own.both_known == own.both_known.T).all()
        and (own.both_present == own.both_present.T).all()
        and (own.both_known <= own.known[:, None]).all()
        and (own.present_and_known <= own.positives[:, None]).all()
    )


def _check_update(update: Update, most: Most) -> None:
    """What holds for one client's update, beside its form."""
    if update.num_clients != 1:
        raise DoorError("not_one_client", "num_clients is not 1")
    for name, weight in update.weight.items():
        if float(weight.max()) > most.weight:
            raise DoorError("too_much", f"weight[{name!r}] is more than any hospital could have")
        delta = update.weighted_delta[name]
        if bool(((weight == 0) & (delta != 0)).any()):
            raise DoorError("contradicts", f"weighted_delta[{name!r}] without a weight")
        if bool((delta.abs() > MOST_STEP * weight).any()):
            raise DoorError("out_of_range", f"weighted_delta[{name!r}] is no step of a training")
    if most.in_fixed_point:
        _check_range(update, most.in_fixed_point)
    if update.loss_weight > most.weight:
        raise DoorError("too_much", "loss_weight is more than any hospital could have")
    if update.loss_weight == 0 and update.loss != 0:
        raise DoorError("contradicts", "loss without a weight")


def _check_range(update: Update, num_clients: int) -> None:
    """Raise DoorError for what a fixed-point sum of so many updates has no room for."""
    try:
        check_weights("this hospital", update.weight)
        loss = torch.tensor([update.loss, update.loss_weight], dtype=torch.float64)
        parts = (update.weighted_delta, update.weight, update.extras)
        for tensor in (loss, *(tensor for part in parts for tensor in part.values())):
            to_fixed_point(tensor, num_clients)
    except DivergenceError:
        raise DoorError(
            "out_of_range", "an entry or a weight does not fit into fixed point"
        ) from None


def _check_sum(value: Any, nothing: Any) -> None:
    """Adding a hospital without exams must change nothing."""
    try:
        unchanged = _same(value + nothing, value)
    except Exception:  # whatever answers of a new kind raise
        unchanged = False
    if not unchanged:
        raise DoorError("does_not_add_up", "the answer together with an empty one is another")


def _same(one: Any, other: Any) -> bool:
    """Whether two values hold the same numbers."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(own, other[n]) for n, own in one.items())
    if is_dataclass(one):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, Tensor | np.ndarray | np.generic):
        return _equal(_as_array(one), _as_array(other))
    return bool(one == other)


def _equal(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    if not isinstance(value, Tensor):
        return np.asarray(value)
    plain = value.detach().cpu()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()


def _named(place: str) -> str:
    return place or "the answer"


def _few(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
