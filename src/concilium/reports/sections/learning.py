"""What happened round by round: validation, and the rare combinations in the test exams."""

from __future__ import annotations

import numpy as np

from concilium.reports.charts import series
from concilium.reports.curve_charts import Chart, Curve, curve_chart
from concilium.reports.evidence import Evidence, Floats, defined_mean
from concilium.reports.markup import Html, figure, number, paragraph, section, table
from concilium.studies.comparison import UNDEFINED
from concilium.studies.coverage import between

MOST_CHARTS = 6


def learning(evidence: Evidence) -> Html | None:
    """Validation AP and AUROC by round; None where no method has rounds."""
    charts = [
        _chart(evidence, "Validation mAP", "validation_score"),
        _chart(evidence, "Validation macro AUROC", "validation_auroc"),
    ]
    charts = [chart for chart in charts if chart.curves]
    if not charts:
        return None
    drawing = curve_chart(
        "learning", charts, series(evidence), "Validation mAP and AUROC by round for each method"
    )
    band = " Bands: lowest and highest run." if evidence.num_runs > 1 else ""
    caption = (
        "On the validation exams of all hospitals, before any exact head. Rounds and learning "
        "rates are chosen by validation mAP, never by test exams. A pooled “round” passes over "
        "the same images as a federated one. Hospitals that train alone see only their own exams "
        "and are not "
        "drawn." + band
    )
    return section("learning", "Learning curves", figure(drawing, caption))


def combinations(evidence: Evidence) -> Html | None:
    """Recall of each followed label set by round and at the end; None where none is followed."""
    sets = [" + ".join(own["labels"]) for own in _sets(evidence, evidence.main)]
    if not sets:
        return None
    charts = [
        Chart(name, "round", "recall", curves)
        for place, name in enumerate(sets[:MOST_CHARTS])
        if (curves := _recalls(evidence, place))
    ]
    parts = []
    if charts:
        drawing = curve_chart(
            "combinations", charts, series(evidence), "Recall of rare combinations by round"
        )
        caption = (
            "Of the test exams that have the whole combination, the share in which all of it is "
            f"alerted, at {100 * evidence.study.evaluation.specificity:g} % specificity. Dotted "
            "line to the open mark: the final model, with the kept round, the exact head and "
            "calibrated thresholds. Averages over labels hide what happens here."
        )
        parts.append(figure(drawing, caption))
    return section("combinations", "Rare combinations", *parts, _table(evidence, sets))


def _chart(evidence: Evidence, title: str, key: str) -> Chart:
    curves = {}
    for method in evidence.methods:
        histories = [_by_round(result["history"], key) for result in evidence.of(method)]
        curve = _curve(histories)
        if curve is not None:
            curves[method] = curve
    return Chart(title, "round", "", curves)


def _by_round(history: list[dict[str, object]], key: str) -> dict[int, float]:
    return {
        int(str(record["round"])): float(str(record[key]))
        for record in history
        if record.get(key) is not None
    }


def _curve(runs: list[dict[int, float]], end: float = float("nan")) -> Curve | None:
    """Mean, lowest and highest of runs over the rounds that any of them has looked at."""
    rounds = sorted(set().union(*runs))
    if not rounds:
        return None
    values = np.array([[run.get(place, np.nan) for place in rounds] for run in runs])
    low, high = (np.asarray(own.reduce(values, axis=0)) for own in (np.fmin, np.fmax))
    return Curve(np.array(rounds, np.float64), defined_mean(values), low, high, end)


def _recalls(evidence: Evidence, place: int) -> dict[str, Curve]:
    curves = {}
    for method in evidence.methods:
        runs = [_recall_by_round(r["history"], place) for r in evidence.of(method)]
        curve = _curve(runs, float(_final(evidence, method)[place]))
        if curve is not None:
            curves[method] = curve
    return curves


def _recall_by_round(history: list[dict[str, list[int]]], place: int) -> dict[int, float]:
    found = {}
    for record in history:
        present = record.get("label_sets_present")
        if present and present[place]:
            share = record["label_sets_found"][place] / present[place]
            found[int(str(record["round"]))] = share
    return found


def _sets(evidence: Evidence, method: str) -> list[dict[str, list[str]]]:
    return list(evidence.of(method)[0]["test"]["label_sets"])


def _final(evidence: Evidence, method: str) -> Floats:
    """Final recall of each set (S,), mean over runs."""
    runs = [
        [np.nan if own["recall"] is None else own["recall"] for own in r["test"]["label_sets"]]
        for r in evidence.of(method)
    ]
    return defined_mean(np.array(runs, np.float64))


def _table(evidence: Evidence, sets: list[str]) -> Html:
    finals = {method: _final(evidence, method) for method in evidence.methods}
    rows = []
    for place, name in enumerate(sets):
        values = [number(float(own[place]), ".2f") for own in finals.values()]
        rows.append([name, between(evidence.exams_of_sets[name]), *values])
    every = " (least to most of all runs)" if evidence.num_runs > 1 else ""
    titles = ["combination", f"test exams that have it{every}", *evidence.methods]
    return Html(
        table(titles, rows, f"{evidence.counted('Recall of the final models')}.")
        + paragraph(
            "A recall from few exams is a rough number: with 10 exams, one exam more or less moves "
            f"it by 0.10. {UNDEFINED} : no test exam has the combination.",
            class_="note",
        )
    )
