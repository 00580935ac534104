"""What came out: in sentences, in a picture, in one table."""

from __future__ import annotations

import math

import numpy as np

from concilium.reports.charts import series
from concilium.reports.dot_charts import Dots, Panel, method_chart
from concilium.reports.evidence import SMALLEST_CELL, Evidence
from concilium.reports.markup import (
    Cell,
    Content,
    Html,
    element,
    figure,
    folded,
    items,
    number,
    section,
    table,
)
from concilium.reports.sections.all_metrics import all_metrics
from concilium.reports.sections.decoupled import decoupled
from concilium.reports.sections.headline import fairness, final_rows, sentences, too_few
from concilium.studies.columns import COLUMNS
from concilium.studies.comparison import FINAL, MIN_PAIRS, Measured, Row, difference

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
        items([*sentences(evidence), *fairness(evidence)]),
        _picture(evidence),
        *(_table(evidence, title, keys) for title, keys in TABLES.items()),
        decoupled(evidence),
        _meanings(),
        all_metrics(evidence),
        _differences(evidence),
    )


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
        f"models, each on all test exams. {_over(evidence, used)} – : undefined, never 0."
    )
    return table(titles, rows, caption)


def _over(evidence: Evidence, used: list[str]) -> str:
    """Over which labels, hospitals and exams the columns go."""
    said = [f"Means over labels go {evidence.coverage.text()}."]
    if "rare_ap" in used:
        said.append("Rare-label AP counts its labels however few their positives.")
    if "worst_hospital" in used:
        said.append(
            "Worst hospital: of those whose macro AUROC is defined in every run, "
            f"{evidence.hospitals.text()}."
        )
    few = [COLUMNS[key].title for key in used if too_few(evidence, key)]
    if few:
        said.append(f"Not bold because of fewer than {SMALLEST_CELL} cases: {', '.join(few)}.")
    return " ".join(said)


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
    # False coupling has an ideal, and what never alerts is below it.
    if key == "false_coupling" or too_few(evidence, key):
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
                form = f"+{COLUMNS[key].form}"
                interval = gap.interval_text(form).replace("-", "−")
                mean = number(gap.mean, form)
                rows.append([reference, COLUMNS[key].title, mean, interval, str(gap.num_pairs)])
    titles = [f"{evidence.main} minus", "in", "mean difference", "95 % t interval", "pairs"]
    caption = (
        "Differences between runs of the same seed and fold; above 0 is better. An interval needs "
        f"{MIN_PAIRS} pairs; it is not cut where it reaches beyond what a number can be, and where "
        f"it contains 0 the difference is within noise. Means over labels go "
        f"{evidence.coverage.text()}."
    )
    return table(titles, rows, caption)
