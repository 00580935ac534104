"""The same test exams weighed as if findings were independent: what is left of each method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from concilium.reports.evidence import Evidence
from concilium.reports.markup import Cell, Content, Html, number, percent, table
from concilium.reports.sections.headline import final_rows
from concilium.studies.columns import COLUMNS
from concilium.studies.columns import number as value

PAIRS = {
    "auroc": "decoupled_auroc",
    "map": "decoupled_map",
    "false_coupling": "decoupled_coupling",
}


def decoupled(evidence: Evidence) -> Html:
    """A table of natural and decoupled values; nothing where no result tells them."""
    rows = final_rows(evidence)
    used = [
        key
        for pair in PAIRS.items()
        if any(row.measured[pair[1]].num_defined for row in rows.values())
        for key in pair
    ]
    if not used:
        return Html()
    titles: list[Content] = ["method", *map(_title, used)]
    cells: list[list[Content]] = [
        [name, *(row.measured[key].text(COLUMNS[key].form) for key in used)]
        for name, row in rows.items()
    ]
    told = [own["test"]["decoupled"] for own in evidence.results if "decoupled" in own["test"]]
    return table(titles, cells, _caption(told))


def _title(key: str) -> Cell:
    column = COLUMNS[key]
    arrow = "↑" if column.better == "higher" else "↓"
    return Cell(f"{column.title}\u00a0{arrow}", hint=column.meaning)


def _caption(told: Sequence[Any]) -> str:
    """What the weights are worth, in the run in which they cover least."""
    worst = min(told, key=lambda own: value(own, "covered"))
    left, before = (number(value(worst, "phi", name)) for name in ("left", "before"))
    return (
        "Decoupled: the same test exams, each weighed by how often its findings would stand "
        "together if none said anything of another, over how often they do. What a model gains by "
        "raising a finding for its usual companions is lost there. Where the weights cover least "
        f"of independent findings, {percent(value(worst, 'covered'))}, they leave "
        f"{number(value(worst, 'effective_exams'), ',.0f')} effective exams of "
        f"{worst['exams']:,.0f} and a mean phi of {left} instead of {before}; "
        f"{worst['capped']:,.0f} exams are held to a weight of {worst['most_weight']:g}, and "
        f"{worst['left_out']:,.0f} have none, as a label of theirs is unknown."
    )
