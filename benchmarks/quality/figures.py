"""Figures from result rows: for the page, and as files of their own; same rows, same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import answers
import numpy as np
import rank_tables
import world_figures
from cast import Cast, Picture, curve_of, identifier
from evidence import Evidence, Values
from labels_needed import LABELLED
from model_charts import rank_chart
from paired import relative_to_pooled
from roles import Role
from rows import Row
from shown import SHOWN
from sweeps import Sweep, sweeps_of

from concilium.foundation.files import file_name, write_atomically
from concilium.reports.curve_charts import Chart, curve_chart
from concilium.reports.markup import Html

DECADE = 8.0  # a severity that grows as much or more is drawn on a logarithmic axis
SWEPT = ("set_recall", "rare_ap", "map", "auroc", "false_coupling")
LEARNT = ("auroc", "map", "rare_ap", "missed_second")


def write(rows: Iterable[Row], out: Path) -> tuple[Path, ...]:
    """Write OUT/figures/*.svg, on white, and give their paths."""
    cast = Cast(Evidence.of(rows))
    paths = []
    for picture in pictures(cast):
        path = out / "figures" / f"{file_name(picture.name)}.svg"
        write_atomically(path, standing_alone(picture.svg).encode())
        paths.append(path)
    return tuple(paths)


def standing_alone(svg: Html) -> str:
    """A figure of the page as a file: its own colours, a white ground, a name space."""
    plain = re.sub(r"var\(--[\w-]+, ([^()]+)\)", r"\1", svg)
    opening = '<svg xmlns="http://www.w3.org/2000/svg" '
    return plain.replace("<svg ", opening, 1).replace('style="', 'style="background:#fff;', 1)


def pictures(cast: Cast) -> tuple[Picture, ...]:
    """Every figure that the rows have something to say in."""
    evidence = cast.evidence
    found = [_sweep(cast, sweep) for sweep in sweeps_of(evidence)]
    for head in rank_tables.RANKED_HEADS:
        found.append(_ranks(cast, head))
    for world in evidence.worlds:
        found += [world_figures.rounds(cast, world), world_figures.trade_off(cast, world)]
        if evidence.first(world).tuned_in in ("", world):  # the others stand in their sweeps
            found += [world_figures.dots(cast, world), world_figures.gains(cast, world)]
    return tuple(picture for picture in found if picture is not None)


def _sweep(cast: Cast, sweep: Sweep) -> Picture | None:
    """Measures against a severity; relative to pooled training, but for learning curves."""
    learning = sweep.severity == LABELLED
    keys = LEARNT if learning else SWEPT
    charts = []
    for key in keys:
        of_pooled = not learning and key in answers.OF_POOLED
        chart = _swept(cast, sweep, key, of_pooled)
        if chart is not None:
            charts.append(chart)
    if not charts:
        return None
    name = f"sweep-{identifier(sweep.worlds[0])}-{identifier(sweep.severity)}"
    caption = (
        f"Mean over seeds by {sweep.severity}; bands: lowest and highest seed. “of pooled” is of "
        "the pooled model with the best validation in the same world, seed by seed."
    )
    svg = curve_chart(name, charts, cast.looks, f"Measures by {sweep.severity}")
    return Picture(name, "learning" if learning else "sweep", "", svg, caption)


def _swept(cast: Cast, sweep: Sweep, key: str, of_pooled: bool) -> Chart | None:
    curves = {}
    for role in cast.roles:
        columns = [_values(cast, role, world, key, of_pooled) for world in sweep.worlds]
        curve = curve_of(sweep.values, columns)
        if not np.isnan(curve.mean).all():
            curves[role.name] = curve
    if not curves:
        return None
    title = SHOWN[key].title + (" / pooled" if of_pooled else "")
    low, high = min(sweep.values), max(sweep.values)
    logarithmic = low > 0 and high / low >= DECADE
    return Chart(title, sweep.severity, "", curves, logarithmic, sweep.values)


def _values(cast: Cast, role: Role, world: str, key: str, of_pooled: bool) -> Values:
    model = role.model(cast.evidence, world)
    if model is None:
        return {}
    if of_pooled:
        return relative_to_pooled(cast.evidence, world, model, key)
    return cast.evidence.values(world, model, key)


def _ranks(cast: Cast, head: str) -> Picture | None:
    found = rank_tables.ranked(cast.evidence, head)
    if found is None:
        return None
    names = [model.method for model in found.models]
    ranks = list(zip(names, found.average, strict=True))
    title = f"ranks in mAP, head: {head}"
    svg = rank_chart(f"ranks-{head}", ranks, found.difference, title, title)
    caption = (
        f"1 is best. {found.text()} A bar joins methods whose ranks do not differ at 5 % (Nemenyi)."
    )
    return Picture(f"ranks-{head}", "ranks", "", svg, caption)
