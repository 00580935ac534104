"""Over what a mean goes: the labels that count in it, and the hospitals that every run defines.

A mean over labels leaves out those with few positives, a comparison of hospitals those without any
label to compare: tables say which, so that no number is better for what it does not contain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from concilium.studies.columns import Result, number

HEADLINE = ("auroc", "average_precision")
MOST_NAMED = 8
Range = tuple[int, int]


@dataclass(frozen=True)
class LeftOut:
    """A label that does not count in ``num_runs`` runs, with its test positives there."""

    label: str
    positives: Range
    num_runs: int


@dataclass(frozen=True)
class LabelCoverage:
    """How many of ``num_labels`` labels count, least and most over runs, and who does not."""

    num_labels: int
    counted: Range
    left_out: tuple[LeftOut, ...]
    num_runs: int

    def text(self) -> str:
        """Such as "over 3 of 4 labels; left out: Hernia (5 positives)"."""
        if not self.left_out:
            return f"over all {self.num_labels} labels"
        named = [self._named(own) for own in self.left_out[:MOST_NAMED]]
        more = len(self.left_out) - len(named)
        every = ", ".join(named) + (f" and {more} more" if more else "")
        return f"over {between(self.counted)} of {self.num_labels} labels; left out: {every}"

    def _named(self, own: LeftOut) -> str:
        runs = (
            f", in {own.num_runs} of {self.num_runs} runs" if own.num_runs < self.num_runs else ""
        )
        return f"{own.label} ({count(own.positives, 'positive')}{runs})"


@dataclass(frozen=True)
class HospitalCoverage:
    """The hospitals whose macro AUROC is defined in every run; ``labels``: over how many it goes.

    ``labels`` are the least and the most of any of them in any run; (0, 0) without a hospital.
    """

    names: tuple[str, ...]
    num_hospitals: int
    labels: Range

    def text(self) -> str:
        """Such as "2 of 3 hospitals, 4 to 6 labels each"."""
        whole = f"{len(self.names)} of {self.num_hospitals} hospitals"
        return f"{whole}, {count(self.labels, 'label')} each" if self.names else whole


def between(ends: Range) -> str:
    """One number, or "least to most"."""
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"


def count(ends: Range, noun: str) -> str:
    """A number of things, such as "1 exam" or "2 to 3 exams"."""
    return f"{between(ends)} {noun}" + ("" if ends == (1, 1) else "s")


def span_of(values: Iterable[float]) -> Range:
    """Least and most of numbers of exams; (0, 0) without any."""
    own = [round(value) for value in values]
    return (min(own), max(own)) if own else (0, 0)


def label_coverage(results: Sequence[Result], min_positives: int) -> LabelCoverage:
    """Labels that count in the means of AUROC and AP: enough positives, and both defined.

    A label is left out of a run where it is so for any method.
    """
    left: dict[tuple[int, int], dict[str, int]] = {}
    for result in results:
        own = left.setdefault((result["seed"], result["fold"]), {})
        own |= _without(result["test"], min_positives)
    labels = results[0]["test"]["labels"]
    found = []
    for label in labels:
        positives = [own[label] for own in left.values() if label in own]
        if positives:
            found.append(LeftOut(label, span_of(positives), len(positives)))
    counted = span_of(len(labels) - len(own) for own in left.values())
    return LabelCoverage(len(labels), counted, tuple(found), len(left))


def _without(test: Result, min_positives: int) -> dict[str, int]:
    """Positives of each label that does not count in one test."""
    values = [test["metrics"][name] for name in HEADLINE]
    return {
        label: round(positives)
        for i, (label, positives) in enumerate(zip(test["labels"], test["positives"], strict=True))
        if positives < min_positives or any(own[i] is None for own in values)
    }


def hospital_coverage(results: Sequence[Result]) -> HospitalCoverage:
    """The hospitals that can be compared over all these results."""
    names = defined_hospitals(results)
    tests = [result["test"]["by_hospital"] for result in results]
    labels = [number(own[n], "macro", "auroc", "num_labels") for own in tests for n in names]
    return HospitalCoverage(names, len(set().union(*tests)), span_of(labels))


def defined_hospitals(results: Sequence[Result]) -> tuple[str, ...]:
    """Hospitals whose macro AUROC is defined in every result; others are no mean over runs."""
    tests = [result["test"]["by_hospital"] for result in results]
    return tuple(
        name
        for name in (tests[0] if tests else ())
        if all(_has_auroc(own.get(name)) for own in tests)
    )


def _has_auroc(hospital: Result | None) -> bool:
    value = number(hospital or {}, "macro", "auroc", "mean")
    return value == value  # noqa: PLR0124  (only NaN differs from itself)


def label_note(results: Sequence[Result], min_positives: int) -> str:
    """Over which labels the means of a table of methods go, in a line."""
    labels = label_coverage(results, min_positives).text()
    return f"means over labels with at least {min_positives} positives: {labels}"


def hospital_note(results: Sequence[Result]) -> str:
    """Of which hospitals the worst one is the worst, in a line."""
    hospitals = hospital_coverage(results).text()
    return f"worst hospital of those with an AUROC in every run: {hospitals}"
