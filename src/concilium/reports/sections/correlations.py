"""True against predicted co-occurrence: has the model learnt which findings go together?"""

from __future__ import annotations

from concilium.reports.evidence import Evidence
from concilium.reports.markup import Html, figure, number, section, table
from concilium.reports.matrix_charts import matrix_chart
from concilium.reports.sections.summary import final_rows
from concilium.studies.columns import COLUMNS


def correlations(evidence: Evidence) -> Html | None:
    """Phi of the labels and of predictions, side by side; None for a single label."""
    if len(evidence.labels) < 2:
        return None
    shown = ["fedavg"] if "fedavg" in evidence.references else list(evidence.references[:1])
    matrices = [("true", evidence.mean(evidence.main, "test", "phi", "true"))]
    matrices += [
        (f"predicted by {method}", evidence.mean(method, "test", "phi", "predicted"))
        for method in [*shown, evidence.main]
    ]
    drawing = matrix_chart(
        "correlations",
        matrices,
        evidence.labels,
        "correlation (phi)",
        "Correlations of findings: true ones beside those that the models predict",
    )
    caption = (
        "Correlation of each pair of findings over the test exams. Orange: together more often "
        "than by chance; purple: less often. A good model's picture equals the true one; a "
        "pattern that is deeper than the true one means that the model raises one finding "
        "because it sees the other."
    )
    rows = final_rows(evidence)
    keys = ("phi_gap", "false_coupling", "missed_second")
    cells = [
        [name, *(row.measured[key].text(COLUMNS[key].form) for key in keys)]
        for name, row in rows.items()
    ]
    titles = ["method", *(COLUMNS[key].title for key in keys)]
    ideal = number(1 - evidence.study.evaluation.specificity, ".2f")
    note = (
        "Phi gap: Frobenius distance between predicted and true phi. False coupling: P(alert for "
        f"l | m present, l absent); ideal {ideal}. Missed 2nd: of the other findings of an exam "
        "in which one is found, the share that is missed. Lower is better in all three."
    )
    return section(
        "correlations",
        "Findings that go together",
        figure(drawing, caption),
        table(titles, cells, note),
    )
