"""Every metric there is, as a mean over labels: what is in the folder of metrics stands here."""

from __future__ import annotations

from concilium.reports.evidence import Evidence
from concilium.reports.markup import Cell, Content, Html, folded, table
from concilium.reports.sections.headline import final_rows
from concilium.studies.columns import Column, metric_columns
from concilium.studies.comparison import UNDEFINED, used_columns


def all_metrics(evidence: Evidence) -> Html:
    """A folded table: a line for each metric of the results, a column for each method."""
    rows = final_rows(evidence)
    used = used_columns(tuple(rows.values()), [own.key for own in metric_columns()])
    cells: list[list[Content]] = [
        [_title(own), *(row.measured[own.key].text(own.form) for row in rows.values())]
        for own in used
    ]
    caption = (
        f"Final models; means over labels go {evidence.coverage.text()}, and over fewer where a "
        "metric is defined for fewer. What needs thresholds is at those of the study; missed "
        f"findings are per label. {UNDEFINED} : undefined, or not measured when the study ran."
    )
    return folded("All metrics", table(["metric", *rows], cells, caption))


def _title(column: Column) -> Cell:
    arrow = "↑" if column.better == "higher" else "↓"
    return Cell(f"{column.title}\u00a0{arrow}", hint=column.meaning)
