"""What is in a data set, before a study: counts of labels, couplings, covariates, what is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concilium.data.dataset import Dataset
from concilium.labels.correlation import phi
from concilium.labels.frequency_groups import FrequencyGroup, frequency_groups
from concilium.labels.states import State
from concilium.labels.statistics import LabelStatistics
from concilium.labels.uncertainty import UncertaintyPolicy, resolve

FEW_POSITIVES = 10
MOST_VALUES = 12
"""Values of a text column that are named; a column with more may identify a patient."""
_CHUNK = 1024  # images looked at together


@dataclass(frozen=True)
class LabelOverview:
    """One label: images by state; ``prevalence`` among known, NaN without any; its group."""

    name: str
    present: int
    absent: int
    uncertain: int
    unknown: int
    prevalence: float
    group: FrequencyGroup | None


@dataclass(frozen=True)
class PairOverview:
    """Two labels: on how many images both are present, how many if they were independent, phi."""

    first: str
    second: str
    together: int
    expected: float
    phi: float


@dataclass(frozen=True)
class Overview:
    """A data set as ``concilium inspect`` shows it; ``problems`` would make a study suffer."""

    title: str
    synthetic: bool
    images: int
    patients: int
    input_shape: tuple[int, ...]
    labels: tuple[LabelOverview, ...]
    strongest: tuple[PairOverview, ...]
    rarest: tuple[PairOverview, ...]
    covariates: Mapping[str, str]
    notes: Mapping[str, str]
    problems: tuple[str, ...]


def overview(dataset: Dataset, num_pairs: int = 5) -> Overview:
    """Describe a data set. Uncertain labels count neither as present nor as absent."""
    table = dataset.table
    target, known = resolve(table.states, UncertaintyPolicy())
    statistics = LabelStatistics.of(target, known, table.patient)
    labels = _labels(dataset, statistics)
    pairs = _pairs(table.schema.names, statistics)
    coupled = [pair for pair in pairs if not np.isnan(pair.phi)]
    together = [pair for pair in pairs if pair.together]
    return Overview(
        dataset.title,
        dataset.synthetic,
        statistics.num_images,
        statistics.num_patients,
        dataset.input_shape,
        labels,
        tuple(sorted(coupled, key=lambda pair: -abs(pair.phi))[:num_pairs]),
        tuple(sorted(together, key=lambda pair: (pair.together, -pair.expected))[:num_pairs]),
        {name: describe_column(column) for name, column in table.covariates.items()},
        dict(dataset.notes),
        (*_label_problems(labels), *_image_problems(dataset)),
    )


def describe_column(values: npt.NDArray[np.generic]) -> str:
    """A covariate in a line: quartiles of numbers, counts of a few words; unknown are counted.

    Of a text with many values only their number is told: it may name a patient.

    >>> describe_column(np.array(["F", "M", "", "F"]))
    'F 2, M 1, unknown 1'
    """
    if values.dtype.kind == "f":
        numbers = values.astype(np.float64)
        unknown = int(np.isnan(numbers).sum())
        if unknown == len(numbers):
            return f"unknown {unknown:,}"
        low, middle, high = np.nanquantile(numbers, [0, 0.5, 1])
        text = f"{low:g} to {high:g}, median {middle:g}"
        return f"{text}, unknown {unknown:,}" if unknown else text
    words, counts = np.unique(values.astype(str), return_counts=True)
    if len(words) > MOST_VALUES:
        return f"{len(words):,} different values"
    named = zip(words.tolist(), counts.tolist(), strict=True)
    return ", ".join(
        f"{word or 'unknown'} {count:,}"
        for word, count in sorted(named, key=lambda pair: (not pair[0], -pair[1], pair[0]))
    )


def _labels(dataset: Dataset, statistics: LabelStatistics) -> tuple[LabelOverview, ...]:
    order = (State.PRESENT, State.ABSENT, State.UNCERTAIN, State.UNKNOWN)
    counts = [(dataset.table.states == state).sum(0).tolist() for state in order]
    prevalence, groups = statistics.prevalence.tolist(), frequency_groups(statistics)
    return tuple(
        LabelOverview(name, present, absent, uncertain, unknown, share, group)
        for name, present, absent, uncertain, unknown, share, group in zip(
            dataset.table.schema.names, *counts, prevalence, groups, strict=True
        )
    )


def _pairs(names: tuple[str, ...], statistics: LabelStatistics) -> list[PairOverview]:
    """Every two labels, over the images on which both are known."""
    correlation = phi(statistics)
    first = statistics.present_and_known.astype(np.float64)
    both = statistics.both_known
    expected = np.divide(first * first.T, both, out=np.zeros(both.shape), where=both > 0)
    return [
        PairOverview(
            names[i],
            names[j],
            int(statistics.both_present[i, j]),
            float(expected[i, j]),
            float(correlation[i, j]),
        )
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]


def _label_problems(labels: tuple[LabelOverview, ...]) -> list[str]:
    none = [own.name for own in labels if own.present == 0]
    few = [f"{own.name} ({own.present})" for own in labels if 0 < own.present < FEW_POSITIVES]
    all_present = [own.name for own in labels if own.present and not own.absent]
    problems = []
    if none:
        problems.append(f"no positives, a study must leave them out: {', '.join(none)}")
    if all_present:
        what = "never absent among known, so nothing can be ranked"
        problems.append(f"{what}: {', '.join(all_present)}")
    if few:
        problems.append(f"fewer than {FEW_POSITIVES} positives: {', '.join(few)}")
    return problems


def _image_problems(dataset: Dataset) -> list[str]:
    """Images of a single value, read some at a time."""
    if len(dataset.input_shape) == 1:
        return []
    empty = 0
    for start in range(0, len(dataset.images), _CHUNK):
        pixels = np.asarray(dataset.images[start : start + _CHUNK]).reshape(
            -1, *dataset.input_shape
        )
        flat = pixels.reshape(len(pixels), -1)
        empty += int((flat.min(1) == flat.max(1)).sum())
    return [f"images of a single gray value: {empty:,}"] if empty else []
