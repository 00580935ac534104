"""The exact head: its penalty, how it was chosen, what it changed."""

from __future__ import annotations

import numpy as np

from concilium.foundation import components
from concilium.reports.charts import series
from concilium.reports.curve_charts import Chart, Curve, curve_chart
from concilium.reports.evidence import Evidence, Plain, defined_mean
from concilium.reports.markup import Html, figure, number, paragraph, section, table
from concilium.studies.columns import COLUMNS
from concilium.studies.comparison import BEFORE, FINAL, UNDEFINED

CHANGED = (
    *("auroc", "map", "head_ap", "medium_ap", "tail_ap", "rare_ap", "set_recall"),
    *("false_coupling", "phi_gap", "worst_hospital"),
)


def consolidation(evidence: Evidence) -> Html | None:
    """Before and after the exact head of every method that has one; None where none has."""
    methods = [m for m in evidence.methods if any(r["consolidation"] for r in evidence.of(m))]
    if not methods:
        return None
    curves = {m: c for m in methods if (c := _curve(evidence.of(m))) is not None}
    return section(
        "consolidation",
        "Consolidation: the exact head",
        paragraph(
            "After the rounds the body of the network is frozen, and the last layer is solved "
            "from sums over all hospitals. The answer is the one that pooled training of that "
            "layer would give, whoever holds the rare exams. The penalty λ is chosen by the loss "
            "on the validation exams, from sums as well."
        ),
        *([_chart(evidence, curves)] if curves else []),
        _choices(evidence, methods),
        _change(evidence, methods),
    )


def _curve(results: tuple[Plain, ...]) -> Curve | None:
    """Held-out loss above its least value, by λ, in per cent; None where no choice was made."""
    found: list[list[float]] = []
    penalties: tuple[float, ...] = ()
    for result in results:
        losses = (result["consolidation"] or {}).get("held_out_loss")
        penalties = _penalties(result)
        if losses and len(losses) == len(penalties):
            least = min(losses)
            found.append([100 * (loss / least - 1) for loss in losses])
    if not found:
        return None
    values = np.array(found)[:, ::-1]
    low, high = values.min(0), values.max(0)
    return Curve(np.array(penalties[::-1]), defined_mean(values), low, high)


def _penalties(result: Plain) -> tuple[float, ...]:
    """The penalties that a result's head could choose from, falling as its losses stand."""
    settings = dict(result["settings"]["head"])
    head = components.build("heads", settings.pop("name"), settings)
    return tuple(sorted(getattr(head, "penalties", ()), reverse=True))


def _chart(evidence: Evidence, curves: dict[str, Curve]) -> Html:
    chart = Chart("Held-out loss by penalty", "penalty λ", "% above the least", curves, True)
    drawing = curve_chart(
        "consolidation", [chart], series(evidence), "Loss on validation exams by penalty λ"
    )
    caption = (
        "Loss on the validation exams of all hospitals. The least is chosen. A minimum at either "
        "end would mean that the range of λ is too narrow."
    )
    return figure(drawing, caption)


def _choices(evidence: Evidence, methods: list[str]) -> Html:
    rows = []
    for method in methods:
        for result in evidence.of(method):
            report = result["consolidation"] or {}
            rows.append(
                [
                    method,
                    f"{result['seed']} / {result['fold']}",
                    *(
                        number(report.get(key), "g")
                        for key in ("penalty", "exchanges", "kept_rows")
                    ),
                ]
            )
    titles = ["method", "seed / fold", "λ chosen", "exchanges of sums", "labels left as they were"]
    caption = "A label without a positive or without a negative in training keeps its row."
    return table(titles, rows, caption)


def _change(evidence: Evidence, methods: list[str]) -> Html:
    rows = {(row.method, row.stage): row for row in evidence.rows}
    used = [key for key in CHANGED if any(row.measured[key].num_defined for row in rows.values())]
    cells = []
    for method in methods:
        for stage, title in ((BEFORE, "before"), (FINAL, "after")):
            row = rows.get((method, stage))
            values = [
                row.measured[key].text(COLUMNS[key].form) if row else UNDEFINED for key in used
            ]
            cells.append([f"{method}, {title}", *values])
    titles = ["model", *(COLUMNS[key].title for key in used)]
    caption = (
        "The same body before and after, on the same test exams. Means over labels go "
        f"{evidence.coverage.text()}."
    )
    return table(titles, cells, caption)
