"""How the model would be used: thresholds, what they give, calibration, misses."""

from __future__ import annotations

import math

import numpy as np

from concilium.reports.evidence import Evidence, defined_mean, stacked
from concilium.reports.markup import Html, element, number, paragraph, percent, section, table
from concilium.reports.sections.headline import final_rows
from concilium.studies.columns import COLUMNS
from concilium.studies.comparison import UNDEFINED

METRICS = {  # in the order of the table, with how they are written
    "sensitivity": ".2f",
    "specificity": ".2f",
    "positive_predictive_value": ".2f",
    "f1": ".2f",
    "negative_predictive_value": ".3f",
}
ERRORS = {"calibration_error": "ECE", "brier": "Brier", "log_loss": "log loss (nats)"}
BEFORE = ("ece_before", "brier_before")
EXAMS = ("with_finding", "with_miss", "with_alert")
NOT_FITTED = "not fitted"


def operation(evidence: Evidence) -> Html:
    """Thresholds and rates by label, misses and calibration by method."""
    return section(
        "operation",
        "Thresholds, and what they give",
        paragraph(
            "Thresholds come from the validation exams of all hospitals, added up as histograms: "
            "for each label the lowest one whose specificity there is at least "
            f"{100 * evidence.study.evaluation.specificity:g} %. Scores are calibrated first "
            "(Platt scaling from the same sums). 0.5 is never used as a threshold: for a rare "
            "finding it means nothing."
        ),
        _by_label(evidence),
        element("h3", "Misses"),
        _misses(evidence),
        element("h3", "Calibration"),
        _calibration(evidence),
    )


def _by_label(evidence: Evidence) -> Html:
    main, target = evidence.main, evidence.study.evaluation.specificity
    metrics = {name: evidence.mean(main, "test", "metrics", name) for name in METRICS}
    thresholds = evidence.mean(main, "test", "operation", "thresholds")
    positives, known = (evidence.mean(main, "test", name) for name in ("positives", "known"))
    absent = 1 - positives / np.where(known == 0, np.nan, known)
    fits = _fits(evidence)
    rows = []
    for i, label in enumerate(evidence.labels):
        values = {name: number(float(metrics[name][i]), form) for name, form in METRICS.items()}
        npv = values.pop("negative_predictive_value")
        threshold = _probability(float(thresholds[i]))
        beside = [npv, number(float(absent[i]), METRICS["negative_predictive_value"])]
        rows.append([label, f"{positives[i]:.0f}", threshold, *values.values(), *beside, *fits[i]])
    titles = [
        *("label", evidence.counted("positives"), "threshold", "sensitivity"),
        f"specificity reached (target {target:g})",
        *("PPV", "F1", "NPV", "1 − prevalence", "slope", "offset"),
    ]
    caption = (
        f"{main} on the test exams of all hospitals. Threshold: calibrated probability (the mean "
        f"threshold over runs); {UNDEFINED} : none, the label never alerts. The target of "
        f"{target:g} holds on the validation exams; what is reached on the test exams differs, the "
        "more so the fewer the validation exams. PPV and NPV hold at the prevalence of these "
        "exams only; 1 − prevalence is the NPV of never raising an alert, so an NPV says "
        "something only above it. Slope and offset: the calibration, a mean over the runs that "
        f"fitted one; {NOT_FITTED}: too few cases in the validation exams, scores are as they were."
    )
    return table(titles, rows, caption)


def _fits(evidence: Evidence) -> list[list[str]]:
    """Slope and offset of each label, over the runs in which they were fitted."""
    slope, offset = (
        stacked(evidence.of(evidence.main), "test", "operation", name)
        for name in ("slope", "offset")
    )
    fitted = (slope != 1) | (offset != 0)  # (R, L); what is left as it was has exactly 1 and 0
    own = [defined_mean(np.where(fitted, values, np.nan)) for values in (slope, offset)]
    runs = fitted.sum(0)
    partly = [f" ({n} of {len(fitted)})" if n < len(fitted) else "" for n in runs]
    return [
        [
            f"{number(float(values[i]), '.2f')}{partly[i]}" if runs[i] else NOT_FITTED
            for values in own
        ]
        for i in range(fitted.shape[1])
    ]


def _probability(score: float) -> str:
    """A threshold in logits as a probability."""
    return UNDEFINED if math.isnan(score) else f"{1 / (1 + math.exp(-score)):.3f}"


def _misses(evidence: Evidence) -> Html:
    rows = []
    for method, row in final_rows(evidence).items():
        exams = {name: evidence.mean(method, "test", "exams", name).item() for name in EXAMS}
        images = evidence.mean(method, "test", "images").item()
        missed = exams["with_miss"] / exams["with_finding"] if exams["with_finding"] else math.nan
        rows.append(
            [
                method,
                row.measured["missed"].text(COLUMNS["missed"].form),
                row.measured["missed_second"].text(COLUMNS["missed_second"].form),
                percent(missed),
                percent(exams["with_alert"] / images if images else math.nan),
            ]
        )
    titles = [
        "method",
        "findings missed per 1,000 exams, at 100 alerts per 100 exams",
        "missed second finding, at the thresholds",
        "exams with a finding that miss one, at the thresholds",
        "exams with an alert, at the thresholds",
    ]
    caption = (
        "What a reader would not be shown. Only the first column compares methods at the same cost "
        "in false alarms: 100 alerts per 100 exams, shared by all labels at one specificity. The "
        "others are at the thresholds of the table above, where methods raise different numbers "
        "of alerts."
    )
    return table(titles, rows, caption)


def _calibration(evidence: Evidence) -> Html:
    rows, every = [], final_rows(evidence)
    told = any(every[m].measured[k].num_defined for m in evidence.methods for k in BEFORE)
    for method in evidence.methods:
        means = [
            number(evidence.mean(method, "test", "macro", name, "mean").item(), ".4f")
            for name in ERRORS
        ]
        if told:
            means += [every[method].measured[key].text(COLUMNS[key].form) for key in BEFORE]
        rows.append([method, *means])
    caption = (
        "How far probabilities are from frequencies, after calibration unless it says before; "
        f"means over labels, lower is better, {evidence.coverage.text()}. ECE over 15 groups of "
        "equal mass."
    )
    before = [COLUMNS[key].title for key in BEFORE] if told else []
    return table(["method", *ERRORS.values(), *before], rows, caption)
