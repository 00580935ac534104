"""What came out, in sentences: with the cases behind each number, and what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from concilium.reports.evidence import SMALLEST_CELL, Evidence
from concilium.reports.markup import Html, element, escaped, number, percent
from concilium.studies.comparison import FINAL, Row
from concilium.studies.coverage import Range, count


@dataclass(frozen=True)
class Headline:
    """A number that is told: what it is, and the fewest cases that any part of it stands on."""

    key: str
    lead: str
    fewest: int | None = None  # None: a mean over labels that have enough


def sentences(evidence: Evidence) -> list[Html]:
    """The main method beside its references, in every number that has something to say."""
    rows = final_rows(evidence)
    return [
        _sentence(evidence, own, rows)
        for own in _headlines(evidence)
        if rows[evidence.main].measured[own.key].num_defined
    ]


def fairness(evidence: Evidence) -> list[str]:
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


def final_rows(evidence: Evidence) -> dict[str, Row]:
    """The row of each method's final model."""
    return {row.method: row for row in evidence.rows if row.stage == FINAL}


def too_few(evidence: Evidence, key: str) -> bool:
    """Whether a number stands on fewer than 10 cases in some part of it: nothing to be praised."""
    fewest = {own.key: own.fewest for own in _headlines(evidence)}
    fewest["erasure"] = fewest.get("set_recall")
    own = fewest.get(key)
    return own is not None and own < SMALLEST_CELL


def _headlines(evidence: Evidence) -> list[Headline]:
    found = [Headline("map", f"Mean average precision (mAP; {evidence.coverage.text()})")]
    settings = evidence.study.evaluation
    if settings.rare_labels:
        cases = {label: evidence.positives_of(label) for label in settings.rare_labels}
        lead = f"Average precision of the rare labels ({_told(cases, 'positive')})"
        found.append(Headline("rare_ap", lead, _fewest(cases)))
    if cases := evidence.exams_of_sets:
        lead = f"Recall of the followed combinations ({_told(cases, 'exam', 'of ')})"
        found.append(Headline("set_recall", lead, _fewest(cases)))
    return found


def _told(cases: Mapping[str, Range], noun: str, before: str = "") -> str:
    """Such as "Mass + Hernia, of 2 exams; Edema + Mass, of 31 to 33 exams"."""
    return "; ".join(f"{name}, {before}{count(own, noun)}" for name, own in cases.items())


def _fewest(cases: Mapping[str, Range]) -> int:
    return min(low for low, _ in cases.values())


def _sentence(evidence: Evidence, told: Headline, rows: Mapping[str, Row]) -> Html:
    main = evidence.main
    values = {name: row.measured[told.key].mean for name, row in rows.items()}
    beside = "".join(f", {name} {number(values[name])}" for name in evidence.references)
    own = f"{main} {number(values[main])}"
    value = escaped(own) if too_few(evidence, told.key) else element("strong", own)
    return Html(
        escaped(f"{told.lead}: ") + value + escaped(f"{beside}." + _rest(evidence, told, values))
    )


def _rest(evidence: Evidence, told: Headline, values: Mapping[str, float]) -> str:
    """The share of pooled training that is reached, or why none is given."""
    main, pooled = evidence.main, values.get("pooled", math.nan)
    least = max(evidence.study.evaluation.min_positives, 1)
    if told.fewest is not None and told.fewest < least:
        return f" Fewer than {least} cases: a rough number, and no ratio to pooled training."
    if not pooled > 0 or main == "pooled":
        return ""
    said = f" That is {percent(values[main] / pooled)} of pooled training"
    fedavg = values.get("fedavg", math.nan)
    if main != "fedavg" and not math.isnan(fedavg):
        said += f"; fedavg has {percent(fedavg / pooled)}"
    return said + "."
