"""Label by label: AUROC and AP with their intervals, for every method."""

from __future__ import annotations

import numpy as np

from concilium.reports.charts import Series, series
from concilium.reports.dot_charts import Dots, Panel, label_chart
from concilium.reports.evidence import Evidence
from concilium.reports.markup import Html, figure, folded, number, section, span, table
from concilium.studies.comparison import UNDEFINED

METRICS = {"auroc": "AUROC", "average_precision": "average precision (AP)"}
MOST_DRAWN = 5
MOST_LABELS = 40


def findings(evidence: Evidence) -> Html:
    """A chart of dots and intervals, and a table for each metric."""
    order = _by_frequency(evidence)
    drawn = _drawn(evidence)
    labels = [evidence.labels[i] for i in order[:MOST_LABELS]]
    panels = [
        Panel(
            title,
            {method: _dots(evidence, method, metric, order[:MOST_LABELS]) for method in drawn},
            0.5 if metric == "auroc" else float("nan"),
        )
        for metric, title in METRICS.items()
    ]
    drawing = label_chart(
        "findings", panels, labels, drawn, "AUROC and average precision of each label and method"
    )
    caption = (
        "Labels from frequent (above) to rare (below). Lines: 95 % intervals from "
        f"{evidence.study.evaluation.bootstrap:,} bootstraps over patients (their ends averaged "
        "over runs). Dotted: chance for AUROC; chance for AP is the prevalence. Where intervals "
        "of two methods overlap widely, their order may be chance."
    )
    tables = [_table(evidence, metric, title, order) for metric, title in METRICS.items()]
    return section(
        "findings", "Every finding, with its interval", figure(drawing, caption), *tables
    )


def _drawn(evidence: Evidence) -> dict[str, Series]:
    """The methods in the chart: the main one, what it is judged against, then the others."""
    local = [name for name in evidence.methods if evidence.trains(name) == "hospitals"]
    first = [evidence.main, *evidence.references, *local, *evidence.methods]
    chosen = list(dict.fromkeys(first))[:MOST_DRAWN]
    return {name: own for name, own in series(evidence).items() if name in chosen}


def _by_frequency(evidence: Evidence) -> list[int]:
    positives = evidence.mean(evidence.main, "test", "positives")
    return [int(i) for i in np.argsort(-positives, kind="stable")]


def _dots(evidence: Evidence, method: str, metric: str, order: list[int]) -> Dots:
    value = evidence.mean(method, "test", "metrics", metric)
    nothing = np.full(len(value), np.nan)
    low = high = nothing
    if all(result["test"]["intervals"] for result in evidence.of(method)):
        low = evidence.mean(method, "test", "intervals", metric, "low")
        high = evidence.mean(method, "test", "intervals", metric, "high")
    return Dots(value[order], low[order], high[order])


def _table(evidence: Evidence, metric: str, title: str, order: list[int]) -> Html:
    dots = {method: _dots(evidence, method, metric, order) for method in evidence.methods}
    positives = evidence.mean(evidence.main, "test", "positives")[order]
    rows = []
    for place, i in enumerate(order):
        cells = [_value(own, place) for own in dots.values()]
        rows.append([evidence.labels[i], f"{positives[place]:.0f}", *cells])
    caption = f"{title}: value and 95 % interval. {UNDEFINED} : undefined (no positives)."
    titles = ["label", evidence.counted("positives"), *evidence.methods]
    return folded(f"Table: {title}", table(titles, rows, caption))


def _value(dots: Dots, place: int) -> str:
    text = number(float(dots.value[place]))
    interval = span(float(dots.low[place]), float(dots.high[place]))
    return text if interval == UNDEFINED else f"{text} ({interval})"
