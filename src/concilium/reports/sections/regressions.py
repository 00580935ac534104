"""What got worse: said plainly, label by label."""

from __future__ import annotations

import numpy as np

from concilium.reports.evidence import Evidence, Floats
from concilium.reports.markup import Html, element, folded, number, paragraph, section, table
from concilium.reports.sections.summary import final_rows
from concilium.studies.columns import COLUMNS

METRICS = {"average_precision": "AP", "auroc": "AUROC"}
IN_ALL = (
    *("auroc", "map", "head_ap", "medium_ap", "tail_ap", "rare_ap", "set_recall"),
    *("false_coupling", "phi_gap", "missed", "missed_second", "worst_hospital"),
    "calibration_error",
)


def regressions(evidence: Evidence) -> Html | None:
    """Where the main method is below plain FedAvg or pooled training; None without either."""
    if not evidence.references:
        return None
    parts = [_against(evidence, reference) for reference in evidence.references]
    return section("worse", "What got worse", *parts)


def _against(evidence: Evidence, reference: str) -> Html:
    main = evidence.main
    overall = _overall(evidence, reference)
    said = (
        f"In all: {main} is worse than {reference} in {', '.join(overall)}."
        if overall
        else f"In all: {main} is not worse than {reference} in any number of the table above."
    )
    lists = [_labels(evidence, reference, metric) for metric in METRICS]
    return element("div", element("h3", f"Against {reference}"), paragraph(said), *lists)


def _overall(evidence: Evidence, reference: str) -> list[str]:
    rows = final_rows(evidence)
    found, ideal = [], 1 - evidence.study.evaluation.specificity
    for key in IN_ALL:
        column = COLUMNS[key]
        own, other = (rows[name].measured[key].mean for name in (evidence.main, reference))
        if key == "false_coupling":  # what is below the ideal is not better still
            own, other = (max(value, ideal) for value in (own, other))
        if own < other if column.better == "higher" else own > other:
            values = f"{number(own, column.form)} against {number(other, column.form)}"
            found.append(f"{column.title} ({values})")
    return found


def _labels(evidence: Evidence, reference: str, metric: str) -> Html:
    short = METRICS[metric]
    own = evidence.mean(evidence.main, "test", "metrics", metric)
    other = evidence.mean(reference, "test", "metrics", metric)
    positives = evidence.mean(evidence.main, "test", "positives")
    compared = ~np.isnan(own - other)
    below = np.flatnonzero(compared & (own < other))
    lead = f"{short} is lower than {reference}'s on {len(below)} of {compared.sum()} labels"
    if not len(below):
        return paragraph(f"{lead}.")
    order = below[np.argsort((own - other)[below], kind="stable")]
    clear = _outside(evidence, metric, other)
    rows = [
        [
            evidence.labels[i],
            f"{positives[i]:.0f}",
            number(own[i]),
            number(other[i]),
            number(own[i] - other[i], "+.3f"),
            clear[i],
        ]
        for i in order
    ]
    titles = ["label", "positives", evidence.main, reference, "difference", "beyond the interval?"]
    caption = (
        f"“yes”: {reference}'s value lies above the 95 % interval of {evidence.main}'s, over "
        "patients; a label with few positives rarely gets there."
    )
    names = ", ".join(f"{evidence.labels[i]} ({number(own[i] - other[i], '+.3f')})" for i in order)
    said = paragraph(f"{lead}: {names}.")
    return Html(said + folded(f"Table: {short} below {reference}", table(titles, rows, caption)))


def _outside(evidence: Evidence, metric: str, other: Floats) -> list[str]:
    """Whether each label's reference value lies above the main method's interval."""
    if not all(result["test"]["intervals"] for result in evidence.of(evidence.main)):
        return ["–"] * len(other)
    high = evidence.mean(evidence.main, "test", "intervals", metric, "high")
    return [
        "–" if np.isnan(end) else "yes" if value > end else "no"
        for value, end in zip(other, high, strict=True)
    ]
