"""What happens at given thresholds, as counts that add up: alerts, pairs, sets, exams, misses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from concilium.evaluation.histograms import Bools, Counts, Floats
from concilium.foundation.errors import InputError

LabelSets = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AlertSums:
    """Counts at thresholds (alert = score >= threshold) over known entries; ``+`` adds them.

    Fields, with L labels and S label sets:
    ``thresholds`` (L,): in logits. NaN: the label has no threshold; it never alerts, its findings
    are missed in the counts of exams, and its own rates are undefined. All NaN: nothing was
    counted, and every measure that needs alerts is NaN. +inf: never alerts, on purpose;
    ``false_alerts`` (L,): alerts on absent;
    ``false_alerts_beside`` (L, L): alerts on absent l while m is present;
    ``found_beside`` (L, L): present l alerted while m is present (diagonal: true alerts);
    ``both_found`` (L, L): l and m both present and both alerted (diagonal: true alerts);
    ``label_sets``, ``set_present`` (S,), ``set_found`` (S,): exams in which all of the set are
    present, and those in which all of it are alerted;
    ``exams_with_finding``, ``exams_with_miss``, ``exams_with_alert``: exams with at least one.
    """

    thresholds: Floats
    false_alerts: Counts
    false_alerts_beside: Counts
    found_beside: Counts
    both_found: Counts
    label_sets: LabelSets
    set_present: Counts
    set_found: Counts
    exams_with_finding: int
    exams_with_miss: int
    exams_with_alert: int

    @staticmethod
    def of(
        alert: Bools, present: Bools, known: Bools, thresholds: Floats, label_sets: LabelSets
    ) -> AlertSums:
        """Counts of exams with alert, present and known, all (N, L)."""
        alert, present = alert & known, present & known
        found, false_alert = alert & present, alert & ~present
        label_sets = canonical(label_sets)
        return AlertSums(
            thresholds=thresholds,
            false_alerts=false_alert.sum(0),
            false_alerts_beside=pair_counts(false_alert, present),
            found_beside=pair_counts(found, present),
            both_found=pair_counts(found, found),
            label_sets=label_sets,
            set_present=_exams_with_all(present, label_sets),
            set_found=_exams_with_all(found, label_sets),
            exams_with_finding=int(present.any(1).sum()),
            exams_with_miss=int((present & ~alert).any(1).sum()),
            exams_with_alert=int(alert.any(1).sum()),
        )

    @staticmethod
    def zero(thresholds: Floats, label_sets: LabelSets) -> AlertSums:
        """The neutral element for these thresholds and label sets."""
        nobody = np.zeros((0, len(thresholds)), np.bool_)
        return AlertSums.of(nobody, nobody, nobody, thresholds, label_sets)

    def __add__(self, other: AlertSums) -> AlertSums:
        """Both together. Raises InputError where thresholds or label sets differ."""
        if not np.array_equal(self.thresholds, other.thresholds, equal_nan=True):
            raise InputError("sums at different thresholds do not add up: send one set to all")
        if self.label_sets != other.label_sets:
            raise InputError("sums of different label sets do not add up: send the same to all")
        return AlertSums(
            self.thresholds,
            self.false_alerts + other.false_alerts,
            self.false_alerts_beside + other.false_alerts_beside,
            self.found_beside + other.found_beside,
            self.both_found + other.both_found,
            self.label_sets,
            self.set_present + other.set_present,
            self.set_found + other.set_found,
            self.exams_with_finding + other.exams_with_finding,
            self.exams_with_miss + other.exams_with_miss,
            self.exams_with_alert + other.exams_with_alert,
        )

    @property
    def true_alerts(self) -> Counts:
        """Alerts on present (L,)."""
        return np.diagonal(self.both_found).copy()

    @property
    def has_threshold(self) -> Bools:
        """Labels that have a threshold (L,)."""
        return ~np.isnan(self.thresholds)

    @property
    def num_alerts(self) -> int:
        """Alerts of all labels on known entries."""
        return int(self.true_alerts.sum() + self.false_alerts.sum())

    def defined(self, values: Floats) -> Floats:
        """Values (L,), (L, L), with NaN where a label concerned has no threshold."""
        has = self.has_threshold
        keep = has if values.ndim == 1 else has[:, None] & has
        return np.where(keep, values, np.nan)


def canonical(label_sets: Iterable[Iterable[int]]) -> LabelSets:
    """The sets in their order, the labels of each ascending and without doubles."""
    return tuple(tuple(sorted({int(label) for label in labels})) for labels in label_sets)


def pair_counts(rows: Bools, columns: Bools) -> Counts:
    """Exams on which rows[:, l] and columns[:, m] both hold (L, L), of (N, L) each."""
    return np.rint(rows.astype(np.float64).T @ columns.astype(np.float64)).astype(np.int64)


def _exams_with_all(holds: Bools, label_sets: LabelSets) -> Counts:
    counts = [int(holds[:, labels].all(1).sum()) for labels in label_sets]
    return np.array(counts, np.int64)
