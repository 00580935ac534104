"""Operating points from sums: at a specificity, at a sensitivity, at a shared budget of alerts.

Every threshold is a bin edge (or ±inf), so the alerts that the histograms promise are exactly the
alerts that ``score >= threshold`` gives on the same exams. A label for which the rule is undefined
(no known negatives, or no positives) gets NaN: it never alerts, and its rates are undefined.
0.5 is never a threshold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from concilium.evaluation.histograms import EDGES, Floats, alerts_from
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation.checks import fraction, not_negative, one_of

ROUNDING = 1e-12  # 0.9 × 10 negatives means 9 of them, also in floating point


def at_specificity(sums: EvaluationSums, specificity: float) -> Floats:
    """The lowest threshold (L,) whose specificity is at least this; NaN without negatives."""
    fraction(specificity=specificity)
    return _lowest_edge(_false_alert_rate(sums), 1 - specificity)


def at_sensitivity(sums: EvaluationSums, sensitivity: float) -> Floats:
    """The highest threshold (L,) whose sensitivity is at least this; NaN without positives."""
    fraction(sensitivity=sensitivity)
    rate = _rate(alerts_from(sums.positives))
    enough = (rate >= sensitivity - ROUNDING).sum(-1) - 1
    return _edges(enough, sums.positives.sum(-1))


def at_alert_budget(
    sums: EvaluationSums, alerts_per_100_exams: float, shared: str = "specificity"
) -> Floats:
    """Thresholds (L,) that together give at most so many alerts per 100 exams.

    ``shared`` says what the labels have in common. ``specificity``: the same specificity for each,
    as low as the budget allows, so that frequent labels cannot use up what rare ones need; NaN for
    labels without negatives. ``score``: one threshold for all, which misses the fewest findings
    where scores are calibrated; NaN for labels that nobody knows. Alerts are counted on known
    entries: 100 × the alerts of a label over the exams on which it is known, summed over labels.
    """
    not_negative(alerts_per_100_exams=alerts_per_100_exams)
    one_of(("specificity", "score"), shared=shared)
    if shared == "score":
        return _shared_score(sums, alerts_per_100_exams)
    return _shared_specificity(sums, alerts_per_100_exams)


def alerts_per_100_exams(sums: EvaluationSums, thresholds: npt.ArrayLike) -> float:
    """Alerts per 100 exams at thresholds (L,) that are bin edges; NaN thresholds never alert."""
    limits = np.asarray(thresholds, np.float64)
    edges = np.searchsorted(EDGES, np.where(np.isnan(limits), np.inf, limits))
    rates = _alert_rate(sums)[np.arange(len(limits)), edges]
    return float(100 * np.nansum(rates))


def num_undefined(thresholds: npt.ArrayLike) -> int:
    """How many labels have no threshold."""
    return int(np.isnan(np.asarray(thresholds, np.float64)).sum())


def _shared_score(sums: EvaluationSums, budget: float) -> Floats:
    rate = _alert_rate(sums)
    within = 100 * np.nansum(rate, axis=0) <= budget + ROUNDING
    edge = np.full(len(rate), int(np.argmax(within)))
    return _edges(edge, sums.statistics.known)


def _shared_specificity(sums: EvaluationSums, budget: float) -> Floats:
    """Bisection over the false-alert rates that some label can have: alerts grow with the rate."""
    rate = _false_alert_rate(sums)
    candidates = np.unique(rate[~np.isnan(rate)])
    low, high = 0, len(candidates) - 1  # rate 0 is always among them; it can still break the budget
    while low < high:
        middle = (low + high + 1) // 2
        thresholds = _lowest_edge(rate, candidates[middle])
        if alerts_per_100_exams(sums, thresholds) <= budget + ROUNDING:
            low = middle
        else:
            high = middle - 1
    thresholds = _lowest_edge(rate, candidates[low] if len(candidates) else 0.0)
    if alerts_per_100_exams(sums, thresholds) > budget + ROUNDING:
        return _fewer_true_alerts(sums, budget)
    return thresholds


def _fewer_true_alerts(sums: EvaluationSums, budget: float) -> Floats:
    """A budget so small that true alerts above every negative exceed it: one score for all."""
    shared = _shared_score(sums, budget)
    return np.where(sums.statistics.negatives == 0, np.nan, shared)


def _lowest_edge(rate: Floats, allowed: float) -> Floats:
    """The lowest edge at which a falling rate (L, B + 1) is at most allowed; NaN for NaN."""
    edge = np.argmax(rate <= allowed + ROUNDING, axis=-1)
    return _edges(edge, ~np.isnan(rate[:, 0]))


def _edges(index: npt.NDArray[np.intp], defined: npt.ArrayLike) -> Floats:
    return np.where(np.asarray(defined) > 0, EDGES[index], np.nan)


def _false_alert_rate(sums: EvaluationSums) -> Floats:
    return _rate(alerts_from(sums.negatives))


def _alert_rate(sums: EvaluationSums) -> Floats:
    return _rate(alerts_from(sums.positives + sums.negatives))


def _rate(alerts: Floats) -> Floats:
    """Alerts at each edge (L, B + 1) over all; NaN where there is nothing."""
    total = alerts[:, :1]
    return np.asarray(alerts / np.where(total == 0, np.nan, total), np.float64)
