"""What a run found, as plain values: the one form that tables, reports and comparisons read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from concilium.evaluation.averages import macro, macro_replicates
from concilium.evaluation.bootstrap import BootstrapSums, interval
from concilium.evaluation.histograms import ties
from concilium.evaluation.sums import EvaluationSums
from concilium.foundation import components
from concilium.joint.inference import Posterior
from concilium.labels.correlation import phi
from concilium.labels.frequency_groups import FrequencyGroup
from concilium.labels.statistics import LabelStatistics
from concilium.metrics.auroc import area_under_roc
from concilium.metrics.average_precision import mean_precision, mean_precision_error
from concilium.metrics.label_set_recall import set_recall
from concilium.metrics.phi_gap import predicted_phi, total_phi_gap
from concilium.orchestration.phases import Assessment, Operation
from concilium.studies.decoupled import describe_decoupled

Values = npt.NDArray[np.float64]
Plain = dict[str, Any]
GROUPS = ("head", "medium", "tail")
BY_HOSPITAL = ("auroc", "average_precision")
PROBABILITY_ERRORS = ("brier", "calibration_error", "log_loss")  # that calibration changes
CURVES = {"auroc": area_under_roc, "average_precision": mean_precision}
BIN_ERRORS = {"auroc": ties, "average_precision": mean_precision_error}


def measures(sums: EvaluationSums) -> dict[str, Values]:
    """Every metric of the folder ``metrics`` on these sums, by name: (L,) each."""
    return {name: components.build("metrics", name)(sums) for name in components.names("metrics")}


def describe(
    assessment: Assessment,
    operation: Operation,
    labels: Sequence[str],
    groups: Sequence[FrequencyGroup | None],
    min_positives: int,
) -> Plain:
    """One model on the test parts: per label, macro, by frequency group, by hospital, intervals.

    ``groups`` (L,) are those of the federation's training parts.
    """
    sums = assessment.all
    values = measures(sums)
    return {
        "labels": list(labels),
        "images": sums.statistics.num_images,
        "patients": sums.statistics.num_patients,
        "positives": sums.statistics.positives,
        "known": sums.statistics.known,
        "groups": list(groups),
        "metrics": values,
        "macro": {n: _macro(v, sums, min_positives) for n, v in values.items()},
        "by_group": {
            group: {n: _macro(v, sums, min_positives, groups, group) for n, v in values.items()}
            for group in GROUPS
        },
        **_beside(assessment, min_positives),
        "bin_error": _bin_errors(sums, min_positives),
        "intervals": _intervals(assessment.bootstrap, sums, min_positives),
        "label_sets": label_sets(sums, labels),
        "exams": exams(sums),
        "phi": {
            "true": phi(sums.statistics),
            "predicted": predicted_phi(sums),
            "gap": total_phi_gap(sums),
        },
        "operation": {
            "thresholds": operation.thresholds,
            "slope": operation.calibration.slope,
            "offset": operation.calibration.offset,
            "prior": prior(operation.posterior),
        },
        "by_hospital": {
            name: hospital(own, min_positives) for name, own in assessment.by_client.items()
        },
    }


def _beside(assessment: Assessment, min_positives: int) -> Plain:
    """The same exams with independent labels, and the model before calibration, where told."""
    found: Plain = {}
    if assessment.decoupled is not None:
        own = assessment.all
        found["decoupled"] = describe_decoupled(assessment.decoupled, own, min_positives)
    if assessment.uncalibrated is not None:
        sums = assessment.uncalibrated
        before = {name: components.build("metrics", name)(sums) for name in PROBABILITY_ERRORS}
        found["uncalibrated"] = {
            "metrics": before,
            "macro": {name: _macro(own, sums, min_positives) for name, own in before.items()},
        }
    return found


def prior(posterior: Posterior | None) -> Plain:
    """The label prior in use; for "site" the federation's, which each hospital's own is held to."""
    if posterior is None:
        return {"choice": "none"}
    return {
        "choice": posterior.choice,
        "bias": posterior.prior.bias.numpy(),
        "coupling": posterior.prior.coupling.numpy(),
    }


def hospital(sums: EvaluationSums, min_positives: int) -> Plain:
    """One hospital's own test part."""
    values = {name: CURVES[name](sums.positives, sums.negatives) for name in BY_HOSPITAL}
    return {
        "images": sums.statistics.num_images,
        "positives": sums.statistics.positives,
        "known": sums.statistics.known,
        "metrics": values,
        "macro": {n: _macro(v, sums, min_positives) for n, v in values.items()},
    }


def label_sets(sums: EvaluationSums, labels: Sequence[str]) -> list[Plain]:
    """Recall of each followed combination: all of it alerted, where all of it is present."""
    alerts = sums.alerts
    return [
        {
            "labels": [labels[i] for i in members],
            "present": int(present),
            "found": int(found),
            "recall": float(recall),
        }
        for members, present, found, recall in zip(
            alerts.label_sets,
            alerts.set_present,
            alerts.set_found,
            set_recall(sums),
            strict=True,
        )
    ]


def exams(sums: EvaluationSums) -> Plain:
    """Exams with a finding, with a miss, with an alert; missed findings in 1,000 exams.

    What needs alerts is NaN where no label has a threshold.
    """
    alerts, images = sums.alerts, sums.statistics.num_images
    counted = bool(alerts.has_threshold.any()) and images > 0
    missed = sums.statistics.positives.sum() - np.trace(alerts.both_found)
    return {
        "with_finding": alerts.exams_with_finding,
        "with_miss": alerts.exams_with_miss if counted else float("nan"),
        "with_alert": alerts.exams_with_alert if counted else float("nan"),
        "missed_findings_per_1000": float(1000 * missed / images) if counted else float("nan"),
    }


def mean_of(descriptions: Sequence[Any]) -> Any:
    """Several descriptions of the same form as one: means of defined numbers, leaf by leaf."""
    first = descriptions[0]
    if isinstance(first, Mapping):
        keys = [key for key in first if all(key in other for other in descriptions)]
        return {key: mean_of([other[key] for other in descriptions]) for key in keys}
    if isinstance(first, np.ndarray) or _is_number(first):
        return _defined_mean(np.array(descriptions, np.float64))
    if isinstance(first, list) and first and not isinstance(first[0], str):
        return [mean_of(items) for items in zip(*descriptions, strict=True)]
    return first


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _defined_mean(stacked: Values) -> Any:
    defined = ~np.isnan(stacked)
    count = defined.sum(0)
    mean = np.where(defined, stacked, 0).sum(0) / np.where(count == 0, np.nan, count)
    return float(mean) if mean.ndim == 0 else mean


def _macro(
    values: Values,
    sums: EvaluationSums,
    min_positives: int,
    groups: Sequence[str | None] = (),
    group: str | None = None,
) -> Plain:
    chosen = None if group is None else np.array([own == group for own in groups])
    return macro(values, sums.statistics, min_positives, chosen)._asdict()


def _bin_errors(sums: EvaluationSums, min_positives: int) -> Plain:
    """How far exact ranks can lie from what the histograms say: per label, and for the macro."""
    errors = {name: error(sums.positives, sums.negatives) for name, error in BIN_ERRORS.items()}
    return {
        name: {"labels": own, "macro": macro(own, sums.statistics, min_positives).mean}
        for name, own in errors.items()
    }


def _intervals(bootstrap: BootstrapSums | None, sums: EvaluationSums, min_positives: int) -> Plain:
    if bootstrap is None:
        return {}
    values = {name: bootstrap.values(curve) for name, curve in CURVES.items()}
    return intervals_of(values, sums.statistics, min_positives)


def intervals_of(
    values: Mapping[str, Values], statistics: LabelStatistics, min_positives: int
) -> Plain:
    """95 % percentile intervals over replicates, of values (R, L) by name and of their macro."""
    found: Plain = {}
    for name, own in values.items():
        low, high, undefined = interval(own)
        whole = interval(macro_replicates(own, statistics, min_positives))
        found[name] = {
            "low": low,
            "high": high,
            "undefined": undefined,
            "macro": [float(whole.low), float(whole.high)],
        }
    return found
