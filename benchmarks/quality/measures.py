"""What is measured of a model on the test exams, as flat numbers. Undefined is NaN, never 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from concilium.studies.columns import MEASURED, NAN, mean_defined, metric_columns, number

Plain = dict[str, Any]
Test = Mapping[str, Any]
NOT_OF_A_TEST = ("megabytes", "seconds")  # stand in the row itself
NEED_SEVERAL_LABELS = (
    "false_coupling",
    "label_set_recall",
    "missed_findings",  # its budget of alerts is that of all labels together
    "missed_second_finding",
    "phi_gap",
)
COUNTS = {
    "num_labels": ("macro", "auroc", "num_labels"),
    "num_left_out": ("macro", "auroc", "num_left_out"),
    "decoupled_effective_exams": ("decoupled", "effective_exams"),
    "decoupled_covered": ("decoupled", "covered"),
    "decoupled_capped": ("decoupled", "capped"),
    "decoupled_left_out": ("decoupled", "left_out"),
    "decoupled_phi_before": ("decoupled", "phi", "before"),
    "decoupled_phi_left": ("decoupled", "phi", "left"),
}
"""How many labels the macro AUROC goes over and how many have too few positives. Of the decoupled
test: how many exams of equal weight it is worth, the share of independent labels' exams whose label
set is among those here, how many exams had their weight capped and how many have no label set, and
the root mean square of phi before and after weighing (``evaluation.decoupling``)."""
PAIRS_LEFT_OUT = "phi_pairs_left_out"
"""Pairs of labels without a predicted or a true phi: the phi gap does not go over them."""
COLUMNS = tuple(c for c in (*MEASURED, *metric_columns()) if c.key not in NOT_OF_A_TEST)


def measures_of(test: Test, rare_labels: Sequence[str]) -> dict[str, float]:
    """Every column of ``studies.columns`` that is of a model on the test exams, and ``COUNTS``."""
    found = {column.key: column.value({}, test, rare_labels) for column in COLUMNS}
    counts = {key: number(test, *path) for key, path in COUNTS.items()}
    return {**found, **counts, PAIRS_LEFT_OUT: pairs_left_out(test)}


def pairs_left_out(test: Test) -> float:
    """How many pairs of labels have no phi, predicted or true; NaN for a test without phi."""
    if "true" not in test["phi"]:
        return NAN
    gap = np.asarray(test["phi"]["predicted"]) - np.asarray(test["phi"]["true"])
    return float(np.isnan(gap[np.triu_indices(len(gap), k=1)]).sum())


def undefined() -> dict[str, float]:
    """The same measures of a training that diverged."""
    return dict.fromkeys((*(column.key for column in COLUMNS), *COUNTS, PAIRS_LEFT_OUT), NAN)


def by_label(test: Test) -> dict[str, dict[str, float]]:
    """Average precision, AUROC, false coupling and known positives of each label."""
    names = ("average_precision", "auroc", "false_coupling")
    return {
        label: {
            **{name: float(test["metrics"][name][i]) for name in names},
            "positives": float(test["positives"][i]),
        }
        for i, label in enumerate(test["labels"])
    }


def by_hospital(test: Test) -> dict[str, dict[str, float]]:
    """Macro AUROC and mAP of each hospital's own test part."""
    return {
        name: {
            "auroc": number(own, "macro", "auroc", "mean"),
            "map": number(own, "macro", "average_precision", "mean"),
        }
        for name, own in test["by_hospital"].items()
    }


def of_labels(tests: Mapping[str, Test]) -> Plain:
    """Tests of models that know one label each, as one of all labels.

    What needs several labels of one model is NaN.
    """
    each = list(tests.values())
    hospitals = each[0]["by_hospital"]
    return {
        "labels": list(tests),
        "images": each[0]["images"],
        **{key: np.concatenate([own[key] for own in each]) for key in ("positives", "known")},
        "metrics": _joined_metrics([own["metrics"] for own in each]),
        "macro": _joined_macro([own["macro"] for own in each]),
        "by_group": {
            group: _joined_macro([own["by_group"][group] for own in each])
            for group in each[0]["by_group"]
        },
        "uncalibrated": {
            "macro": _joined_macro([own["uncalibrated"]["macro"] for own in each]),
        },
        "label_sets": [],
        "phi": {"gap": NAN},
        "by_hospital": {
            name: {"macro": _joined_macro([own["by_hospital"][name]["macro"] for own in each])}
            for name in hospitals
        },
    }


def _joined_metrics(each: Sequence[Test]) -> Plain:
    joined = {name: np.concatenate([own[name] for own in each]) for name in each[0]}
    for name in NEED_SEVERAL_LABELS:
        joined[name] = np.full_like(joined[name], NAN)
    return joined


def _joined_macro(each: Sequence[Test]) -> Plain:
    """Means over labels: each of the parts has one label, or none with enough positives."""
    return {
        name: {
            "mean": NAN
            if name in NEED_SEVERAL_LABELS
            else mean_defined(own[name]["mean"] for own in each),
            **{key: sum(own[name][key] for own in each) for key in ("num_labels", "num_left_out")},
        }
        for name in each[0]
    }
