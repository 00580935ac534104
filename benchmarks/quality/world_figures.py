"""Figures of one world: by round, relative to pooled training, the trade-off, gains."""

from __future__ import annotations

import math

import coupling_tables
import model_charts
import numpy as np
from cast import Cast, Picture, curve_of, identifier
from evidence import Evidence, Model
from paired import hospital_gain, relative_to_pooled, t_interval
from roles import Role, looks
from shown import SHOWN

from concilium.reports.charts import Series
from concilium.reports.curve_charts import Chart, Curve, curve_chart
from concilium.reports.dot_charts import Dots, Panel, method_chart
from concilium.studies.columns import NAN

OTHER_MODELS = Series("#8b949e", "o", 4.0)


def rounds(cast: Cast, world: str) -> Picture | None:
    """Recall of rare sets and the score, round by round, of bodies before any exact head."""
    charts = []
    for key, title in (
        ("set_recall", "rare-set recall by round"),
        ("validation_score", "validation score by round"),
    ):
        curves = {}
        for role in cast.roles:
            model = role.model(cast.evidence, world)
            if model is not None and (curve := _by_round(cast.evidence, world, model, key)):
                curves[role.name] = curve
        if curves:
            charts.append(Chart(title, "round", "", curves))
    if not any("recall" in chart.title for chart in charts):
        return None
    name = f"rounds-{identifier(world)}"
    caption = (
        f"{cast.evidence.title(world)}: the trained body before its exact head (each head chose "
        "its own body); bands: lowest and highest seed. The recall is of test exams, by which "
        "nothing is chosen, the score that of validation exams, by which the round is. A round of "
        "pooled training goes over all exams. Trainings that diverged have no rounds here."
    )
    svg = curve_chart(name, charts, cast.looks, f"Rare-set recall by round in {world}")
    return Picture(name, "erasure", world, svg, caption)


def _by_round(evidence: Evidence, world: str, model: Model, key: str) -> Curve | None:
    """Rounds that every seed looked at."""
    seen = [
        {point["round"]: point[key] for point in row.curve if key in point}
        for row in evidence.runs(world, model).values()
    ]
    seen = [own for own in seen if own]
    if not seen:
        return None
    rounds = sorted(set.intersection(*(set(own) for own in seen)))
    columns = [{i: own[place] for i, own in enumerate(seen)} for place in rounds]
    return curve_of(rounds, columns) if rounds else None


def dots(cast: Cast, world: str) -> Picture | None:
    """Every method relative to pooled training, bare and with its exact head."""
    evidence = cast.evidence
    if evidence.pooled(world) is None:
        return None
    methods = evidence.methods(world)
    panels = []
    for key in ("map", "rare_ap"):
        for title, model_of in (
            ("bare", lambda method: Model(method, "none")),
            ("exact head", lambda method: evidence.with_chosen_head(world, method)),
        ):
            own = {m: _dot(evidence, world, model_of(m), key) for m in methods}
            if not all(np.isnan(dot.value).all() for dot in own.values()):
                panels.append(Panel(f"{SHOWN[key].title}, {title}", own))
    if not panels:
        return None
    name = f"of-pooled-{identifier(world)}"
    caption = (
        f"{evidence.title(world)}: part of the pooled model's value, paired by seed; bars: 95 % "
        "t interval of the mean. The exact head of each method is the one that validation prefers. "
        "Seeds that diverged or are undefined are left out; the tables count them."
    )
    drawn = looks(methods, cast.default, cast.baseline)
    svg = method_chart(name, panels, drawn, f"Every method relative to pooled training in {world}")
    return Picture(name, "restoration", world, svg, caption)


def _dot(evidence: Evidence, world: str, model: Model | None, key: str) -> Dots:
    found = relative_to_pooled(evidence, world, model, key) if model else {}
    own = np.array([value for value in found.values() if not math.isnan(value)])
    low, high = t_interval(own)
    mean = float(own.mean()) if len(own) else NAN
    return Dots(np.array([mean]), np.array([low]), np.array([high]))


def trade_off(cast: Cast, world: str) -> Picture | None:
    """False coupling against AUROC, all models."""
    evidence, pooled = cast.evidence, cast.evidence.pooled(world)
    named = {role.model(evidence, world): role for role in cast.roles}
    points = [_point(evidence, world, model, named.get(model)) for model in evidence.models(world)]
    points = [own for own in points if not math.isnan(own.across + own.up)]
    if not points:
        return None
    means = [
        evidence.measured(world, pooled, key).mean if pooled else NAN
        for key in ("false_coupling", "auroc")
    ]
    corner = (
        means[0] * (1 - coupling_tables.COUPLING_BELOW / 100),
        means[1] - coupling_tables.AUROC_COST,
    )
    name = f"trade-off-{identifier(world)}"
    caption = (
        f"{evidence.title(world)}: up and left is better. Bars: standard deviation over seeds. "
        "Shaded: 20 % less false coupling than pooled training at no more than 0.005 AUROC."
    )
    titles = ("false coupling (ideal 0.10)", "macro AUROC")
    svg = model_charts.trade_off(
        name, points, titles, corner, f"False coupling against AUROC in {world}"
    )
    return Picture(name, "decoupling", world, svg, caption)


def _point(evidence: Evidence, world: str, model: Model, role: Role | None) -> model_charts.Point:
    across, up = (evidence.measured(world, model, k) for k in ("false_coupling", "auroc"))
    look = role.look if role else OTHER_MODELS
    spreads = (across.spread, up.spread)
    name = f"{role.name}: {model.title}" if role and role.trains else model.title
    return model_charts.Point(name, across.mean, up.mean, *spreads, look, named=role is not None)


def gains(cast: Cast, world: str) -> Picture | None:
    """What each hospital gains over training alone."""
    every_gain, drawn = {}, {}
    for role in cast.roles:
        model = role.model(cast.evidence, world)
        if model is None or role.trains == "hospitals":
            continue
        every = hospital_gain(cast.evidence, world, model).every
        own = [gain for hospitals in every.values() for gain in hospitals.values()]
        if own:
            every_gain[role.name], drawn[role.name] = own, role.look
    if not every_gain:
        return None
    name = f"gains-{identifier(world)}"
    caption = (
        f"{cast.evidence.title(world)}: a mark is a hospital in one seed, the bar their mean; "
        "right of the line it has more than alone, on its own test exams."
    )
    across = "macro AUROC above training alone"
    svg = model_charts.gain_strip(
        name, every_gain, drawn, across, f"Gain of each hospital in {world}"
    )
    return Picture(name, "gains", world, svg, caption)
