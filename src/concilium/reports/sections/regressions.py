"""What got worse: said plainly, label by label, and what of it may be chance."""

from __future__ import annotations

import numpy as np

from concilium.reports.evidence import Evidence, Floats
from concilium.reports.markup import Html, element, folded, number, paragraph, section, table
from concilium.reports.sections.headline import final_rows
from concilium.studies.columns import COLUMNS
from concilium.studies.comparison import MIN_PAIRS, UNDEFINED, difference

METRICS = {"average_precision": "AP", "auroc": "AUROC"}
IN_ALL = (
    *("auroc", "map", "head_ap", "medium_ap", "tail_ap", "rare_ap", "set_recall"),
    *("false_coupling", "phi_gap", "missed", "missed_second", "worst_hospital"),
    "calibration_error",
)
OVER_PATIENTS = {"auroc": "auroc", "map": "average_precision"}  # means with a bootstrap interval
BEYOND, WITHIN, UNKNOWN = "Beyond noise", "Within noise", "No interval"
SAID = {"yes": BEYOND, "no": WITHIN, UNDEFINED: UNKNOWN}


def regressions(evidence: Evidence) -> Html | None:
    """Where the main method is below plain FedAvg or pooled training; None without either."""
    if not evidence.references:
        return None
    note = paragraph(
        "Within noise: in all, the 95 % t interval of the paired difference contains 0, from "
        f"{MIN_PAIRS} pairs of runs on; with fewer pairs (macro AUROC and mAP alone), and of a "
        "label, the other value lies inside the 95 % interval over patients. No interval: nobody "
        "can say. What is equal as printed is left out. Means over labels go "
        f"{evidence.coverage.text()}.",
        class_="note",
    )
    parts = [_against(evidence, reference) for reference in evidence.references]
    return section("worse", "What got worse", *parts, note)


def _against(evidence: Evidence, reference: str) -> Html:
    main = evidence.main
    overall = _overall(evidence, reference)
    said = (
        f"In all, {main} is worse than {reference}.{_grouped(overall)}"
        if overall
        else f"In all, {main} is not worse than {reference} in any number of the table above."
    )
    lists = [_labels(evidence, reference, metric) for metric in METRICS]
    return element("div", element("h3", f"Against {reference}"), paragraph(said), *lists)


def _grouped(found: list[tuple[str, str]]) -> str:
    """Texts by what is known of them, such as " Beyond noise: A, B. Within noise: C."."""
    groups = {kind: [text for text, own in found if own == kind] for kind in SAID.values()}
    return "".join(f" {kind}: {', '.join(texts)}." for kind, texts in groups.items() if texts)


def _overall(evidence: Evidence, reference: str) -> list[tuple[str, str]]:
    """What is worse, with both values, and whether that is within noise."""
    rows = final_rows(evidence)
    found, ideal = [], 1 - evidence.study.evaluation.specificity
    for key in IN_ALL:
        column = COLUMNS[key]
        values = [rows[name].measured[key].mean for name in (evidence.main, reference)]
        first, second = (number(value, column.form) for value in values)
        coupling = key == "false_coupling"  # what is below the ideal is not better still
        own, other = (max(value, ideal) if coupling else value for value in values)
        worse = own < other if column.better == "higher" else own > other
        if worse and first != second:
            beside = f"; ideal {ideal:.2f}" if coupling else ""
            text = f"{column.title} ({first} against {second}{beside})"
            found.append((text, _noise(evidence, reference, key, values[1])))
    return found


def _noise(evidence: Evidence, reference: str, key: str, other: float) -> str:
    """Whether a difference of the main method to a reference may be chance."""
    rare = evidence.study.evaluation.rare_labels
    gap = difference(evidence.results, evidence.main, reference, key, rare)
    if gap.has_interval:
        return WITHIN if gap.within_noise else BEYOND
    metric = OVER_PATIENTS.get(key, "")
    intervals = [result["test"]["intervals"] for result in evidence.of(evidence.main)]
    if not all("macro" in own.get(metric, {}) for own in intervals):
        return UNKNOWN
    low, high = evidence.mean(evidence.main, "test", "intervals", metric, "macro")
    return WITHIN if low <= other <= high else BEYOND


def _labels(evidence: Evidence, reference: str, metric: str) -> Html:
    short = METRICS[metric]
    own = evidence.mean(evidence.main, "test", "metrics", metric)
    other = evidence.mean(reference, "test", "metrics", metric)
    compared = ~np.isnan(own - other)
    printed = np.array([number(a) != number(b) for a, b in zip(own, other, strict=True)])
    below = np.flatnonzero(compared & (own < other) & printed)
    lead = f"{short} is lower than {reference}'s on {len(below)} of {compared.sum()} labels"
    if not len(below):
        return paragraph(f"{lead}.")
    order = below[np.argsort((own - other)[below], kind="stable")]
    clear = _outside(evidence, metric, other)
    texts = [f"{evidence.labels[i]} ({number(own[i] - other[i], '+.3f')})" for i in order]
    kinds = [SAID[clear[i]] for i in order]
    said = paragraph(f"{lead}.{_grouped(list(zip(texts, kinds, strict=True)))}")
    details = _table(evidence, reference, order, own, other, clear)
    return Html(said + folded(f"Table: {short} below {reference}", details))


def _table(
    evidence: Evidence,
    reference: str,
    order: np.ndarray[tuple[int], np.dtype[np.intp]],
    own: Floats,
    other: Floats,
    clear: list[str],
) -> Html:
    positives = evidence.mean(evidence.main, "test", "positives")
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
    titles = [
        *("label", evidence.counted("positives"), evidence.main, reference),
        *("difference", "beyond the interval?"),
    ]
    caption = (
        f"“yes”: {reference}'s value lies above the 95 % interval of {evidence.main}'s, over "
        "patients; a label with few positives rarely gets there."
    )
    return table(titles, rows, caption)


def _outside(evidence: Evidence, metric: str, other: Floats) -> list[str]:
    """Whether each label's reference value lies above the main method's interval."""
    if not all(result["test"]["intervals"] for result in evidence.of(evidence.main)):
        return [UNDEFINED] * len(other)
    high = evidence.mean(evidence.main, "test", "intervals", metric, "high")
    return [
        UNDEFINED if np.isnan(end) else "yes" if value > end else "no"
        for value, end in zip(other, high, strict=True)
    ]
