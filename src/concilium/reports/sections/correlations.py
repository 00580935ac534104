"""True against predicted co-occurrence: has the model learnt which findings go together?"""

from __future__ import annotations

import numpy as np

from concilium.reports.evidence import SMALLEST_CELL, Evidence, Floats, stacked
from concilium.reports.markup import Html, figure, folded, number, paragraph, section, table
from concilium.reports.matrix_charts import MOST_NUMBERED, matrix_chart
from concilium.reports.sections.headline import final_rows
from concilium.studies.columns import COLUMNS

MOST_DRAWN = 5  # methods, beside the true correlations: two lines of three
MOST_PAIRS = 20


def correlations(evidence: Evidence) -> Html | None:
    """Phi of the labels and of predictions, side by side; None for a single label."""
    if len(evidence.labels) < 2:
        return None
    matrices = _matrices(evidence)
    return section(
        "correlations",
        "Findings that go together",
        *(
            (_drawing(evidence, matrices), _pairs(evidence, matrices))
            if (~np.isnan(_lower(matrices["true"]))).any()
            else (paragraph(f"No two labels have {SMALLEST_CELL} positives each: not drawn."),)
        ),
        _numbers(evidence),
    )


def _matrices(evidence: Evidence) -> dict[str, Floats]:
    """Phi (L, L) of the labels and of each method, only where both labels have cases enough."""
    positives = stacked(evidence.of(evidence.main), "test", "positives").min(0)
    enough = positives >= SMALLEST_CELL
    shown = enough[:, None] & enough
    local = [name for name in evidence.methods if evidence.trains(name) == "hospitals"]
    first = [evidence.main, *evidence.references, *local, *evidence.methods]
    chosen = set(list(dict.fromkeys(first))[:MOST_DRAWN])
    found = {"true": evidence.mean(evidence.main, "test", "phi", "true")}
    found |= {
        name: evidence.mean(name, "test", "phi", "predicted")
        for name in evidence.methods
        if name in chosen
    }
    return {name: np.where(shown, matrix, np.nan) for name, matrix in found.items()}


def _drawing(evidence: Evidence, matrices: dict[str, Floats]) -> Html:
    positives = evidence.mean(evidence.main, "test", "positives")
    drawing = matrix_chart(
        "correlations",
        list(matrices.items()),
        evidence.labels,
        positives.tolist(),
        "correlation (phi)",
        "Correlations of findings: true ones beside those that the models predict",
    )
    numbers = (
        " The numbers of the pairs that go together most are in the table below."
        if len(evidence.labels) > MOST_NUMBERED
        else ""
    )
    caption = (
        "Correlation of each pair of findings over the test exams, true and as each method "
        "predicts it; in brackets the "
        f"{evidence.counted('positives of a label')}. Pairs with a label of fewer than "
        f"{SMALLEST_CELL} positives are left out: their correlation is noise. Orange: together "
        "more often than by chance; purple: less often. A good model's picture equals the true "
        "one; a pattern that is deeper than the true one means that the model raises one finding "
        "because it sees the other." + numbers
    )
    return figure(drawing, caption)


def _lower(matrix: Floats) -> Floats:
    """Each pair once."""
    return np.where(np.tri(len(matrix), k=-1, dtype=np.bool_), matrix, np.nan)


def _pairs(evidence: Evidence, matrices: dict[str, Floats]) -> Html:
    """The numbers of the pairs whose true correlation is largest."""
    size = np.abs(_lower(matrices["true"]))
    order = np.argsort(-np.nan_to_num(size, nan=-1.0), axis=None, kind="stable")
    kept = order[: min(MOST_PAIRS, int((~np.isnan(size)).sum()))]
    positives = evidence.mean(evidence.main, "test", "positives")
    rows = []
    phi = evidence.counted("phi")
    for a, b in zip(*np.unravel_index(kept, size.shape), strict=True):
        values = [number(float(matrix[a, b]), ".2f") for matrix in matrices.values()]
        counts = f"{positives[a]:.0f} / {positives[b]:.0f}"
        rows.append([f"{evidence.labels[a]} + {evidence.labels[b]}", counts, *values])
    pairs = "pair" if len(rows) == 1 else "pairs"
    caption = f"The {len(rows)} {pairs} with the largest true correlation, as {phi}."
    titles = ["pair", evidence.counted("positives of each"), *matrices]
    return folded("Table: correlations of pairs", table(titles, rows, caption))


def _numbers(evidence: Evidence) -> Html:
    """Each method's false coupling beside what it reached in specificity, and its kin."""
    keys = ("phi_gap", "false_coupling", "missed_second")
    target = evidence.study.evaluation.specificity
    cells = []
    for name, row in final_rows(evidence).items():
        reached = evidence.mean(name, "test", "macro", "specificity", "mean").item()
        gap, coupling, missed = (row.measured[key].text(COLUMNS[key].form) for key in keys)
        cells.append([name, gap, coupling, number(1 - reached), missed])
    gap, coupling, missed = (COLUMNS[key].title for key in keys)
    note = (
        "Phi gap: Frobenius distance between predicted and true phi, over all labels. False "
        "coupling: P(alert for l | m present, l absent). A model that does not couple raises l "
        "beside m as often as anywhere: at 1 − specificity. Thresholds aim at a specificity of "
        f"{target:g} on the validation exams, so the ideal would be {number(1 - target, '.2f')}; "
        "on the test exams another specificity is reached, so compare a method's false coupling "
        "with its own 1 − specificity reached. Missed 2nd: of the other findings of an exam in "
        f"which one is found, the share that is missed. Lower is better in all three. Means over "
        f"labels go {evidence.coverage.text()}."
    )
    return table(["method", gap, coupling, "1 − specificity reached", missed], cells, note)
