"""The hospitals and how they differ: size, labels, prevalence, coupling, machines."""

from __future__ import annotations

import json
import math

import numpy as np

from concilium.reports.evidence import SMALLEST_CELL, Evidence, Plain, stacked
from concilium.reports.heat_tables import heat_cell, heat_table
from concilium.reports.markup import (
    Cell,
    Html,
    figure,
    number,
    paragraph,
    percent,
    section,
    table,
)
from concilium.studies.comparison import UNDEFINED
from concilium.studies.coverage import between, span_of

LEAST_SHOWN = 0.001  # prevalence of the lightest colour: the scale is logarithmic above it


def hospitals(evidence: Evidence) -> Html | None:
    """How the hospitals of the first seed and fold differ; None where no division is saved."""
    if not evidence.divisions:
        return None
    name, division = next(iter(evidence.divisions.items()))
    shifts = division["shifts"]
    more = f" Shown: {name}; the others are in splits/." if len(evidence.divisions) > 1 else ""
    return section(
        "hospitals",
        "The hospitals and how they differ",
        paragraph(
            f"{len(shifts['hospitals'])} hospitals, dealt out by "
            f"{_dealing(evidence)}. What follows is what shifted between them "
            "before anything was trained." + more
        ),
        _sizes(shifts),
        _prevalence(shifts),
        _machines(shifts),
    )


def _dealing(evidence: Evidence) -> str:
    """The partitioner and its settings, in a line."""
    own = evidence.study.split.partitioner
    if evidence.study.split.column:
        return f"{own.name}, parts by the column {evidence.study.split.column}"
    settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in own.settings.items())
    return f"{own.name} ({settings})" if settings else own.name


def _sizes(shifts: Plain) -> Html:
    positives = np.array(shifts["positives"])
    alone = (positives > 0).sum(0) == 1
    labels = np.array(shifts["labels"], object)
    rows = []
    for k, name in enumerate(shifts["hospitals"]):
        only = labels[alone & (positives[k] > 0)]
        annotated = sum(shifts["annotated"][k])
        rows.append(
            [
                name,
                f"{shifts['images'][k]:,}",
                percent(shifts["share"][k]),
                f"{shifts['patients'][k]:,}",
                f"{annotated} of {len(labels)}",
                number(shifts["phi_distance"][k]),
                ", ".join(only) or UNDEFINED,
            ]
        )
    titles = ["hospital", "images", "share", "patients", "labels annotated", "coupling shift"]
    caption = (
        "Coupling shift: root mean square difference between a hospital's correlations of findings "
        "(phi) and those of all exams; 0 means that findings go together as elsewhere."
    )
    return table([*titles, "only holder of"], rows, caption)


def _prevalence(shifts: Plain) -> Html:
    """Label × hospital, with the prevalence of all; small cells and what reveals them left out."""
    known, positives = (np.array(shifts[name], np.float64) for name in ("known", "positives"))
    rows = []
    for i, label in enumerate(shifts["labels"]):
        hidden = [0 < p < SMALLEST_CELL for p in positives[:, i]]
        counts = zip(positives[:, i].tolist(), known[:, i].tolist(), hidden, strict=True)
        cells = [_cell(count, of, small) for count, of, small in counts]
        # A single hidden count would follow from the total.
        whole = _cell(float(positives[:, i].sum()), float(known[:, i].sum()), sum(hidden) == 1)
        rows.append((label, [*cells, whole]))
    caption = (
        "Prevalence among the exams on which the label is known (logarithmic colours). 0 is a "
        f"true zero: the hospital has seen none. – : fewer than {SMALLEST_CELL} positives, not "
        "shown, or a total that would give such a count away; · : the hospital does not annotate "
        "the label."
    )
    scale = (percent(LEAST_SHOWN, 1), "100 %")
    columns = [*shifts["hospitals"], "all"]
    return figure(heat_table("prevalence", columns, rows, scale), caption)


def _cell(positives: float, known: float, hidden: bool) -> Cell:
    if known == 0:
        return Cell("·", "heat none", hint="not annotated")
    if hidden:
        return Cell(UNDEFINED, "heat none", hint=f"fewer than {SMALLEST_CELL} positives")
    share = positives / known
    depth = math.log(max(share, LEAST_SHOWN))
    return heat_cell(depth, math.log(LEAST_SHOWN), 0.0, percent(share, 1) if share else "0")


def _machines(shifts: Plain) -> Html:
    habits = shifts["acquisition"]
    if not habits:
        return paragraph("Images: as they are; no acquisition shift was simulated.")
    names = list(next(iter(habits.values())))
    rows = [[name, *(number(own[key], ".3g") for key in names)] for name, own in habits.items()]
    caption = (
        "How each hospital's machines change its images: contrast is a factor, brightness and "
        "noise are fractions of the gray range, blur a fraction of the width, rotation in "
        "degrees, collimation the fraction that black borders cover. 1 or 0 leaves images as "
        "they are."
    )
    return table(["hospital", *names], rows, caption)


def by_hospital(evidence: Evidence) -> Html:
    """Label × hospital AUROC of the main method, and every method's macro AUROC by hospital."""
    return section(
        "by-hospital",
        "Label by label at each hospital",
        _auroc(evidence),
        _macros(evidence),
    )


def _auroc(evidence: Evidence) -> Html:
    main = evidence.main
    names = _names(evidence, main)
    columns = [_cells(evidence, main, name) for name in names]
    rows = [(label, [column[i] for column in columns]) for i, label in enumerate(evidence.labels)]
    caption = (
        f"AUROC of {main} on each hospital's own test exams. – : fewer than {SMALLEST_CELL} "
        "positives or negatives at that hospital: not shown, because it would be noise and would "
        "speak of single patients. Orange: below 0.5, worse than chance."
    )
    return figure(heat_table("AUROC", names, rows, ("0.5", "1.0")), caption)


def _cells(evidence: Evidence, method: str, hospital: str) -> list[Cell]:
    value = evidence.mean(method, "test", "by_hospital", hospital, "metrics", "auroc")
    place = ("test", "by_hospital", hospital)
    positives = stacked(evidence.of(method), *place, "positives")  # (R, L)
    negatives = stacked(evidence.of(method), *place, "known") - positives
    # A mean over runs would still speak of the run in which the cell is small.
    enough = np.minimum(positives, negatives).min(0) >= SMALLEST_CELL
    shown = np.where(enough, value, np.nan).tolist()
    return [heat_cell(v, 0.5, 1.0, number(v, ".2f")) for v in shown]


def _macros(evidence: Evidence) -> Html:
    names = _names(evidence, evidence.main)
    counted = [_labels_counted(evidence, name) for name in names]
    rows = [("labels counted", [Cell(text, "heat none") for text in counted])]
    for method in evidence.methods:
        cells = [_macro(evidence, method, name) for name in names]
        rows.append((method, cells))
    least = evidence.study.evaluation.min_positives
    caption = (
        "Macro AUROC of every method on each hospital's own test exams, over the labels with at "
        f"least {least} positives there: {evidence.hospitals.text()}. {UNDEFINED} : not in every "
        "run is there such a label, and a mean over some of the runs cannot be compared. Hospitals "
        "with other labels are no contest either: compare methods down a column. Methods that "
        "train at hospitals alone: each hospital's own model. The worst hospital counts, not only "
        "the mean."
    )
    return figure(heat_table("macro AUROC", names, rows, ("0.5", "1.0")), caption)


def _labels_counted(evidence: Evidence, hospital: str) -> str:
    """Over how many labels a hospital's macro AUROC goes, least to most over runs."""
    place = ("test", "by_hospital", hospital, "macro", "auroc", "num_labels")
    return between(span_of(stacked(evidence.of(evidence.main), *place).tolist()))


def _macro(evidence: Evidence, method: str, hospital: str) -> Cell:
    if hospital not in evidence.hospitals.names:
        return Cell(UNDEFINED, "heat none", hint="not defined in every run")
    place = ("test", "by_hospital", hospital, "macro", "auroc", "mean")
    value = evidence.mean(method, *place).item()
    return heat_cell(value, 0.5, 1.0, number(value))


def _names(evidence: Evidence, method: str) -> list[str]:
    return list(evidence.of(method)[0]["test"]["by_hospital"])
