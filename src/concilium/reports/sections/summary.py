"""What came out: in sentences, in a picture, in one table."""

from __future__ import annotations

import math

import numpy as np

from concilium.reports.charts import series
from concilium.reports.dot_charts import Dots, Panel, method_chart
from concilium.reports.evidence import Evidence
from concilium.reports.markup import (
    Cell,
    Content,
    Html,
    element,
    escaped,
    figure,
    folded,
    items,
    number,
    percent,
    section,
    span,
    table,
)
from concilium.studies.columns import COLUMNS
from concilium.studies.comparison import FINAL, Measured, Row, difference

TABLES = {
    "Findings one by one": ("auroc", "map", "head_ap", "medium_ap", "tail_ap", "rare_ap"),
    "Findings together, misses, the worst hospital": (
        *("set_recall", "erasure", "false_coupling", "phi_gap"),
        *("missed", "missed_second", "worst_hospital"),
    ),
}
PICTURED = ("auroc", "map", "rare_ap", "set_recall")
COMPARED = ("auroc", "map", "tail_ap", "rare_ap", "set_recall", "worst_hospital")


def summary(evidence: Evidence) -> Html:
    """Sentences, a chart of the numbers that matter most, and the table of methods."""
    return section(
        "summary",
        "What came out",
        items([*_sentences(evidence), *_fairness(evidence)]),
        _picture(evidence),
        *(_table(evidence, title, keys) for title, keys in TABLES.items()),
        _meanings(),
        _differences(evidence),
    )


def final_rows(evidence: Evidence) -> dict[str, Row]:
    """The row of each method's final model."""
    return {row.method: row for row in evidence.rows if row.stage == FINAL}


def _sentences(evidence: Evidence) -> list[str]:
    """The main method beside its references, in every number that has something to say."""
    rows = final_rows(evidence)
    others = [name for name in evidence.references if name in rows]
    told = {"map": "Mean average precision (mAP)", "set_recall": _sets(evidence)}
    rare = evidence.study.evaluation.rare_labels
    if rare:
        told["rare_ap"] = f"Average precision of the rare labels ({', '.join(rare)})"
    return [
        _sentence(told[key], key, rows, evidence.main, others)
        for key in ("map", "rare_ap", "set_recall")
        if key in told and rows[evidence.main].measured[key].num_defined
    ]


def _fairness(evidence: Evidence) -> list[str]:
    """What a reader has to know before the main method is called as good as pooled training."""
    pooled = [name for name in evidence.references if evidence.trains(name) == "pooled"]
    has_head = {
        name: any(r["consolidation"] for r in evidence.of(name)) for name in evidence.methods
    }
    if not pooled or not has_head[evidence.main] or any(has_head[name] for name in pooled):
        return []
    return [
        f"Mind: {evidence.main} ends with an exact head, {' and '.join(pooled)} here does not; "
        "pooled training can have one too (method pooled_exact), which is the harder mark."
    ]


def _sets(evidence: Evidence) -> str:
    sets = [" + ".join(names) for names in evidence.study.evaluation.label_sets]
    return f"Recall of the followed combinations ({'; '.join(sets)})"


def _sentence(lead: str, key: str, rows: dict[str, Row], main: str, others: list[str]) -> Html:
    own = rows[main].measured[key].mean
    beside = [f"{name} {number(rows[name].measured[key].mean)}" for name in others]
    kept = ""
    pooled = rows["pooled"].measured[key].mean if "pooled" in rows else float("nan")
    if pooled > 0 and main != "pooled":
        kept = f" That is {percent(own / pooled)} of pooled training"
        fedavg = rows["fedavg"].measured[key].mean if "fedavg" in rows else float("nan")
        if main != "fedavg" and not math.isnan(fedavg):
            kept += f"; fedavg has {percent(fedavg / pooled)}"
        kept += "."
    value = element("strong", f"{main} {number(own)}")
    return Html(escaped(f"{lead}: ") + value + escaped(f", {', '.join(beside)}." + kept))


def _picture(evidence: Evidence) -> Html:
    rows, drawn = final_rows(evidence), series(evidence)
    keys = [k for k in PICTURED if any(row.measured[k].num_defined for row in rows.values())]
    if not keys:
        return element("p", "No measure is defined: the test exams hold too few positives.")
    panels = [
        Panel(COLUMNS[key].title, {m: _dot(row.measured[key]) for m, row in rows.items()})
        for key in keys
    ]
    drawing = method_chart(
        "methods", panels, drawn, "Each method's " + ", ".join(panel.title for panel in panels)
    )
    bars = " Bars: one standard deviation over runs." if evidence.num_runs > 1 else ""
    return figure(
        drawing,
        "Further right is better. local_only is what each hospital has alone; pooled is what all "
        "images in one place would give, the mark to reach without moving them." + bars,
    )


def _dot(measured: Measured) -> Dots:
    mean, spread = np.array([measured.mean]), np.array([measured.spread])
    return Dots(mean, mean - spread, mean + spread)


def _table(evidence: Evidence, title: str, keys: tuple[str, ...]) -> Html:
    used = [k for k in keys if any(row.measured[k].num_defined for row in evidence.rows)]
    best = {key: _best(evidence, key) for key in used}
    titles: list[Content] = ["method", *(_title(key) for key in used)]
    rows: list[list[Content]] = [
        [_name(row), *(_value(row, key, best[key]) for key in used)] for row in evidence.rows
    ]
    runs = evidence.num_runs
    over = f"mean ± sample standard deviation over {runs} runs" if runs > 1 else "one run"
    caption = (
        f"{title}: all methods on the same test exams ({over}). Bold: the best final model of "
        "those that leave images where they are. Hospitals that train alone: the mean over their "
        "models, each on all test exams. – : undefined, never 0."
    )
    return table(titles, rows, caption)


def _meanings() -> Html:
    keys = [key for keys in TABLES.values() for key in keys]
    return folded(
        "What the columns mean",
        items(
            f"{COLUMNS[k].title}: {COLUMNS[k].meaning}; {COLUMNS[k].better} is better."
            for k in keys
        ),
    )


def _title(key: str) -> Cell:
    column = COLUMNS[key]
    arrow = "↑" if column.better == "higher" else "↓"
    return Cell(f"{column.title}\u00a0{arrow}", hint=column.meaning)


def _name(row: Row) -> Cell:
    return Cell(row.method) if row.stage == FINAL else Cell(f"↳ {row.stage}", "before")


def _value(row: Row, key: str, best: float) -> Content:
    measured = row.measured[key]
    text = measured.text(COLUMNS[key].form)
    if row.stage != FINAL:
        return Cell(text, "before")
    is_best = measured.mean == best and row.trains != "pooled"
    return element("strong", text) if is_best else text


def _best(evidence: Evidence, key: str) -> float:
    if key == "false_coupling":  # has an ideal; what never alerts is below it
        return math.nan
    means = [
        row.measured[key].mean
        for row in evidence.rows
        if row.stage == FINAL and row.trains != "pooled" and row.measured[key].num_defined
    ]
    if not means:
        return float("nan")
    return max(means) if COLUMNS[key].better == "higher" else min(means)


def _differences(evidence: Evidence) -> Html:
    """The main method minus its references, paired by seed and fold; nothing for a single run."""
    if evidence.num_runs < 2 or not evidence.references:
        return Html()
    rare, rows = evidence.study.evaluation.rare_labels, []
    for reference in evidence.references:
        for key in COMPARED:
            gap = difference(evidence.results, evidence.main, reference, key, rare)
            if gap.num_pairs:
                interval = span(gap.low, gap.high, "+.3f")
                mean = number(gap.mean, "+.3f")
                rows.append([reference, COLUMNS[key].title, mean, interval, str(gap.num_pairs)])
    titles = [f"{evidence.main} minus", "in", "mean difference", "95 % t interval", "pairs"]
    caption = "Differences between runs of the same seed and fold; above 0 is better."
    return table(titles, rows, caption)
