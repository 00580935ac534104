"""What labels cost: exams that must be labelled, and labels that hospitals do not annotate."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evidence import Evidence, Model
from paired import paired, ratios
from shown import SHOWN, written
from sweeps import Sweep
from table_forms import Table

from concilium.studies.columns import NAN
from concilium.studies.comparison import Measured

LABELLED, ANNOTATED = "labelled share", "labels annotated"
GOALS = (Model("softmax", "none"), Model("one_label_bce", "none"))
"""Whose macro AUROC with all labelled exams is to be reached."""


def share_needed(aurocs: Mapping[float, float], goal: float) -> float:
    """The least labelled share at which a learning curve reaches a goal, between its points.

    Linear in the logarithm of the share. The least share of the curve where it is reached there
    already; NaN where it never is, or where no goal is defined.
    """
    below: tuple[float, float] | None = None
    for share, auroc in sorted(aurocs.items()):
        if auroc >= goal:
            if below is None:
                return share
            part = (goal - below[1]) / (auroc - below[1])
            return math.exp(math.log(below[0]) + part * math.log(share / below[0]))
        if not math.isnan(auroc):
            below = (share, auroc)
    return NAN


def needed(evidence: Evidence, sweep: Sweep) -> Table:
    """The part of the labelled exams with which each model does what others do with all."""
    goals = [goal for goal in GOALS if evidence.runs(sweep.worlds[-1], goal)]
    rows = []
    for model in sweep.models(evidence):
        every = [_shares(evidence, sweep, model, goal) for goal in goals]
        if any(every):
            rows.append(
                [model.title, *(written(Measured.of(own.values()), ".2f") for own in every)]
            )
    titles = [f"share needed for the AUROC of {goal.title}" for goal in goals]
    caption = (
        f"That AUROC with {sweep.values[-1]:g} of the exams labelled, seed by seed; mean ± "
        "standard deviation. Between measured shares the curve is read linearly in their "
        f"logarithm; {sweep.values[0]:g} is the least measured. (2 of 3): seeds in which it is "
        "reached at all; the mean then speaks for them alone."
    )
    title = f"Labelled exams needed for equal macro AUROC ({sweep.family})"
    return Table.of(title, ["model", *titles], rows, caption)


def _shares(evidence: Evidence, sweep: Sweep, model: Model, goal: Model) -> dict[int, float]:
    """By seed; NaN where the goal is not reached."""
    goals = evidence.values(sweep.worlds[-1], goal, "auroc")
    curves = {
        value: evidence.values(world, model, "auroc")
        for value, world in zip(sweep.values, sweep.worlds, strict=True)
    }
    seeds = set.intersection(*(set(own) for own in curves.values())) & set(goals)
    return {
        seed: share_needed({value: own[seed] for value, own in curves.items()}, goals[seed])
        for seed in sorted(seeds)
    }


def kept_of_all(evidence: Evidence, sweep: Sweep, key: str = "auroc") -> Table:
    """What each model keeps of what it does where all is labelled or annotated."""
    last = sweep.worlds[-1]
    rows = []
    for model in sweep.models(evidence):
        cells = []
        for world in sweep.worlds[:-1]:
            part = ratios(evidence.values(world, model, key), evidence.values(last, model, key))
            gap = paired({s: 100 * v for s, v in part.items()}, dict.fromkeys(part, 0.0))
            cells.append(gap.text(".1f").replace("+", ""))
        rows.append([model.title, *cells])
    titles = [f"{sweep.severity} = {value:g}" for value in sweep.values[:-1]]
    caption = (
        f"Percent of the same model's {SHOWN[key].title} at {sweep.values[-1]:g}, paired by seed, "
        "[95 % interval]."
    )
    title = f"{SHOWN[key].title} kept by {sweep.severity} ({sweep.family})"
    return Table.of(title, ["model", *titles], rows, caption, folded=True)


def tables(evidence: Evidence, sweep: Sweep) -> tuple[Table, ...]:
    """What a sweep has to say of labels; nothing where it is about something else."""
    if sweep.severity == LABELLED:
        return needed(evidence, sweep), kept_of_all(evidence, sweep)
    return (kept_of_all(evidence, sweep),) if sweep.severity == ANNOTATED else ()
