"""A stranger's reply at the door: what may be counted, and under which code the rest is refused.

A reply is looked at in full before any of it is added, so one that is refused changes nothing. A
code names no value and no text of the sender's, only the tensor of the server's own that it does
not fit. ``CODES`` says what each means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from numpy.lib import format as npy

from concilium.evaluation.sums import EvaluationSums
from concilium.flower.records import COUNTS, marginal_statistics
from concilium.foundation.errors import ConciliumError
from concilium.labels.statistics import LabelStatistics

Arrays = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")

CODES = {
    "silent": "no reply came in time",
    "failed": "its node or client app ended with this error of Flower's: see the hospital's log",
    "twice": "it replied more than once",
    "stranger": "it was not asked",
    "records": "it does not hold one ArrayRecord and, after training, one MetricRecord",
    "names": "its arrays have other names than the server's",
    "types": "an array has another type than the server's",
    "shapes": "an array has another shape than the server's",
    "unreadable": "the bytes of an array are not what they are declared to be",
    "not_finite": "an array holds NaN or an infinite value",
    "too_large": "a value is larger than any training makes it",
    "no_counts": "counts of labels are missing: add **label_counts(target, known) to its metrics",
    "counts": "its counts of labels cannot be: negative, too large, no integers, or of others",
    "sums": "its evaluation sums contradict each other",
}
"""Why a reply is left out, and what it means."""

LARGEST = 1e15
"""No parameter is larger; its square and its weighted sum are still far from float32's end."""


class ReplyError(ConciliumError):
    """A reply that is not counted. Its text is a code, and where in the model it is if that helps.

    ``code`` is one of ``CODES``; ``place`` a name of the server's own.
    """

    def __init__(self, code: str, place: str = "") -> None:
        super().__init__(f"{code}: {place}" if place else code)
        self.code = code


def admit(
    replies: Iterable[Message], asked: Sequence[int], read: Callable[[RecordDict], T]
) -> tuple[dict[int, T], dict[int, str]]:
    """What ``read`` makes of each reply, by ascending node id, and who is left out, with the code.

    Neither depends on the order of the replies: who answers twice is left out altogether.
    """
    read_in: dict[int, T] = {}
    left_out = dict.fromkeys(asked, "silent")
    seen: set[int] = set()
    for reply in replies:
        node = reply.metadata.src_node_id
        try:
            if node not in asked:
                raise ReplyError("stranger")
            if node in seen:
                raise ReplyError("twice")
            seen.add(node)
            if not reply.has_content():
                raise ReplyError("failed", f"error {int(reply.error.code)}")
            read_in[node] = read(reply.content)
            del left_out[node]
        except ReplyError as error:
            read_in.pop(node, None)
            left_out[node] = str(error)
    return dict(sorted(read_in.items())), dict(sorted(left_out.items()))


def only_arrays(content: RecordDict) -> ArrayRecord:
    """The one ArrayRecord of a reply."""
    if len(content.array_records) != 1:
        raise ReplyError("records")
    return next(iter(content.array_records.values()))


def only_metrics(content: RecordDict) -> MetricRecord:
    """The one MetricRecord of a reply."""
    if len(content.metric_records) != 1:
        raise ReplyError("records")
    return next(iter(content.metric_records.values()))


def checked_arrays(record: ArrayRecord, like: Arrays) -> Arrays:
    """The arrays of a record, in the order of ``like``, whose names, types and shapes they have.

    They are views into the bytes of the message, which nobody may write to. Raises ReplyError.
    """
    if record.keys() != like.keys():
        raise ReplyError("names")
    return {name: _checked(name, record[name], own) for name, own in like.items()}


def bounded(arrays: Arrays) -> Arrays:
    """The same arrays. Raises ReplyError where one holds NaN, or a magnitude above ``LARGEST``."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ReplyError("not_finite", name)
        if array.dtype != np.bool_ and array.size and not _magnitude(array) <= LARGEST:
            raise ReplyError("too_large", name)
    return arrays


def checked_counts(metrics: MetricRecord, num_labels: int, most_images: int) -> LabelStatistics:
    """The label counts of a reply: 0 ≤ positives ≤ known ≤ exams ≤ most_images. Or ReplyError."""
    if any(name not in metrics for name in COUNTS):
        raise ReplyError("no_counts")
    images, known, positives = (_counts(metrics[name]) for name in COUNTS)
    shapes = images.shape, known.shape, positives.shape
    if shapes != ((1,), (num_labels,), (num_labels,)) or not images[0] <= most_images:
        raise ReplyError("counts")
    if not ((positives <= known) & (known <= images)).all():
        raise ReplyError("counts")
    return marginal_statistics(int(images[0]), known, positives)


def checked_sums(record: ArrayRecord, num_labels: int, most_images: int) -> EvaluationSums:
    """Evaluation sums without thresholds, finite, not negative and of one piece. Or ReplyError."""
    like = EvaluationSums.zero(num_labels).to_arrays()
    arrays = dict(checked_arrays(record, like))
    alerts = [name for name in like if name.startswith("alerts.")]
    counted = {name: array for name, array in arrays.items() if name not in alerts}
    bounded(counted)
    sums = EvaluationSums.from_arrays(arrays)
    own, bins = sums.statistics, sums.positives + sums.negatives
    holds = (
        all((array >= 0).all() for array in counted.values())
        and all(arrays[name].tobytes() == like[name].tobytes() for name in alerts)
        and own.num_patients <= own.num_images <= most_images
        and bool((own.both_known <= own.num_images).all())
        and bool((own.both_present <= own.present_and_known).all())
        and bool((own.present_and_known <= own.both_known).all())
        and np.array_equal(sums.positives.sum(1), own.positives)
        and np.array_equal(sums.negatives.sum(1), own.negatives)
        and bool((sums.probability <= bins).all())
        and bool((sums.squared_error <= own.known).all())
        and bool((sums.predicted_and_known <= own.both_known).all())
    )
    if not holds:
        raise ReplyError("sums")
    return sums


def mean_metrics(records: Mapping[int, tuple[MetricRecord, float]]) -> dict[str, Any]:
    """Mean of what hospitals report of their own, weighted; ``records``: node → (metrics, weight).

    A number, or an entry of a list, that is missing or not finite at a hospital is averaged over
    the others; it is left out where nobody reports it, or where lists differ in length.
    """
    names = {
        name: None for metrics, _ in records.values() for name in metrics if name not in COUNTS
    }
    means: dict[str, Any] = {}
    for name in names:
        told = [(metrics[name], weight) for metrics, weight in records.values() if name in metrics]
        values = [np.asarray(value, np.float64) for value, _ in told]
        if len({value.shape for value in values}) != 1:
            continue
        mean = _mean(np.stack(values), np.array([weight for _, weight in told]))
        if not np.isnan(mean).all():
            means[name] = mean.tolist()
    return dict(sorted(means.items()))


def _mean(values: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Weighted mean over the first axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    share = np.where(finite, weight.reshape(-1, *[1] * (values.ndim - 1)), 0.0)
    total = share.sum(0)
    summed = (np.where(finite, values, 0.0) * share).sum(0)
    return np.asarray(np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan))


def _checked(name: str, array: Array, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One array, read from its bytes only after their header says what they should hold."""
    if array.stype != "numpy.ndarray" or array.dtype != str(like.dtype):
        raise ReplyError("types", name)
    if tuple(array.shape) != like.shape:
        raise ReplyError("shapes", name)
    try:
        stream = BytesIO(array.data)
        versions = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        shape, fortran, dtype = versions[npy.read_magic(stream)](stream)
    except Exception:  # a lying header makes its reader raise anything
        raise ReplyError("unreadable", name) from None
    body = memoryview(array.data)[stream.tell() :]
    if (shape, dtype, len(body)) != (like.shape, like.dtype, like.nbytes):
        raise ReplyError("unreadable", name)
    flat = np.frombuffer(body, dtype) if len(body) else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _counts(told: object) -> npt.NDArray[np.int64]:
    """Counts as they were told, one or a list of them; a boolean and a float are none."""
    values = told if isinstance(told, list) else [told]
    if not all(type(value) is int and 0 <= value < 2**62 for value in values):
        raise ReplyError("counts")
    return np.array(values, np.int64)


def _magnitude(array: npt.NDArray[Any]) -> float:
    return max(-float(array.min()), float(array.max()))
