"""The decoupled test of a model as plain values: what it is worth where labels are independent."""

from __future__ import annotations

from typing import Any

import numpy as np

from concilium.evaluation.averages import macro
from concilium.evaluation.decoupling import MAX_WEIGHT, Decoupled
from concilium.evaluation.histograms import Floats, divide
from concilium.evaluation.sums import EvaluationSums
from concilium.metrics.auroc import area_under_roc
from concilium.metrics.average_precision import mean_precision
from concilium.metrics.false_coupling import mean_coupling

MIN_CASES = 10  # exams beside which a false alert counts, as in ``metrics.false_coupling``


def describe_decoupled(
    test: Decoupled, natural: EvaluationSums, min_positives: int
) -> dict[str, Any]:
    """``decoupled``: AUROC, AP, false coupling by label and macro, and what the weights are worth.

    ``natural`` are the sums of the same exams as they are: its statistics say which labels enter
    the macro, the same as in the natural test, and it says which labels have a threshold. What a
    rare label is worth there is told by ``effective_positives`` (L,).
    """
    positives, negatives = test.histograms()
    values = {
        "auroc": area_under_roc(positives, negatives),
        "average_precision": mean_precision(positives, negatives),
        "false_coupling": mean_coupling(_coupling(test, natural)),
    }
    return {
        "exams": test.counts.num_exams,
        "left_out": test.counts.num_left_out,
        "effective_exams": test.num_effective,
        "effective_positives": test.effective_positives,
        "most_weight": MAX_WEIGHT,
        "capped": test.num_capped,
        "covered": test.covered,
        "phi": {"before": test.mean_phi(weighed=False), "left": test.mean_phi(weighed=True)},
        "metrics": values,
        "macro": {
            name: macro(own, natural.statistics, min_positives)._asdict()
            for name, own in values.items()
        },
    }


def _coupling(test: Decoupled, natural: EvaluationSums) -> Floats:
    """FC(l|m) of the weighed exams (L, L), as ``metrics.false_coupling`` defines it."""
    enough = test.absent_beside(weighed=False) >= MIN_CASES
    np.fill_diagonal(enough, False)
    matrix = divide(test.sums.false_alerts_beside, test.absent_beside(weighed=True) * enough)
    return np.where(natural.alerts.has_threshold[:, None], matrix, np.nan)
