"""How the model would be used: thresholds, what they give, calibration, misses."""

from __future__ import annotations

import math

from concilium.reports.evidence import Evidence
from concilium.reports.markup import Html, element, number, paragraph, percent, section, table
from concilium.reports.sections.summary import final_rows
from concilium.studies.columns import COLUMNS
from concilium.studies.comparison import UNDEFINED

RATES = {"sensitivity": "sensitivity", "specificity": "specificity"}
VALUES = {"positive_predictive_value": "PPV", "negative_predictive_value": "NPV", "f1": "F1"}
ERRORS = {"calibration_error": "ECE", "brier": "Brier", "log_loss": "log loss (nats)"}
EXAMS = ("with_finding", "with_miss", "with_alert", "missed_findings_per_1000")


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
    main = evidence.main
    names = {**RATES, **VALUES}
    metrics = {name: evidence.mean(main, "test", "metrics", name) for name in names}
    own = {
        name: evidence.mean(main, "test", "operation", name)
        for name in ("thresholds", "slope", "offset")
    }
    positives = evidence.mean(main, "test", "positives")
    rows = []
    for i, label in enumerate(evidence.labels):
        threshold = _probability(float(own["thresholds"][i]))
        values = [number(float(metrics[name][i]), ".2f") for name in names]
        fit = [number(float(own[name][i]), ".2f") for name in ("slope", "offset")]
        rows.append([label, f"{positives[i]:.0f}", threshold, *values, *fit])
    titles = ["label", "positives", "threshold", *names.values(), "slope", "offset"]
    caption = (
        f"{main} on the test exams of all hospitals. Threshold: calibrated probability (the mean "
        f"threshold over runs); {UNDEFINED} : none, the label never alerts. PPV and NPV hold at "
        "the prevalence of these exams only. Slope and offset: the calibration, 1 and 0 where "
        "there were too few cases to fit it."
    )
    return table(titles, rows, caption)


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
                number(exams["missed_findings_per_1000"], ".0f"),
                percent(missed),
                percent(exams["with_alert"] / images if images else math.nan),
            ]
        )
    titles = [
        "method",
        "missed / 1,000 at an equal alert budget",
        "missed second finding",
        "missed / 1,000 at the thresholds",
        "exams with a finding that miss one",
        "exams with an alert",
    ]
    caption = (
        "What a reader would not be shown. Only the first column compares methods at the same cost "
        "in false alarms: 100 alerts per 100 exams, shared by all labels at one specificity."
    )
    return table(titles, rows, caption)


def _calibration(evidence: Evidence) -> Html:
    rows = []
    for method in evidence.methods:
        means = [
            number(evidence.mean(method, "test", "macro", name, "mean").item(), ".4f")
            for name in ERRORS
        ]
        rows.append([method, *means])
    caption = (
        "How far probabilities are from frequencies, after calibration; means over labels, lower "
        "is better. ECE over 15 groups of equal mass."
    )
    return table(["method", *ERRORS.values()], rows, caption)
