"""Every model of one world beside the others, in a short and in a full table; and its lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evidence import Evidence, Model
from rows import Row
from shown import COMPACT, COUPLINGS, FULL, SHOWN, Shown, written
from table_forms import Entry, Table

from concilium.studies.comparison import UNDEFINED, Measured

LINES = "lines.md"


def compact(evidence: Evidence, world: str, lines: str = LINES) -> Table:
    """Each method as it was trained and with the exact head that validation prefers."""
    models = [
        model
        for method in evidence.methods(world)
        for model in (Model(method, "none"), evidence.with_chosen_head(world, method))
        if model is not None and evidence.runs(world, model)
    ]
    how = "Each method bare, and with the exact head that validation prefers."
    caption = f"{how} {_read(evidence, world)}"
    return _table(evidence, world, models, COMPACT, "Main numbers", caption, lines)


def full(evidence: Evidence, world: str, lines: str = LINES, folded: bool = True) -> Table:
    """Every method with every head, every number."""
    title = "Every head, every number"
    caption = _read(evidence, world)
    return _table(evidence, world, evidence.models(world), FULL, title, caption, lines, folded)


def lines(evidence: Evidence, world: str, folded: bool = False) -> Table:
    """What to run to have a row again: seed, id, digest of the model, command."""
    rows = [
        [
            model.title,
            str(seed),
            row.id,
            f"{row.rate:g}" + _beside(row),
            str(row.num_trials),
            row.model[:12] or "diverged",
            row.command,
        ]
        for model in evidence.models(world)
        for seed, row in evidence.runs(world, model).items()
    ]
    titles = ["model", "seed", "id", "chosen setting", "of", "model digest", "command"]
    return Table.of(f"{world}: lines", titles, rows, folded=folded)


def _beside(row: Row) -> str:
    """What was chosen beside the learning rate."""
    if isinstance(row.value, Mapping):
        return "".join(f", {name} = {value}" for name, value in row.value.items())
    return f", {row.parameter} = {row.value}" if row.parameter else ""


def anchor(world: str) -> str:
    """Where the lines of a world stand."""
    return f"lines-{world}"


def _table(
    evidence: Evidence,
    world: str,
    models: Sequence[Model],
    keys: Sequence[str],
    title: str,
    caption: str,
    lines: str,
    folded: bool = False,
) -> Table:
    columns = {}
    for shown in (SHOWN[key] for key in keys):
        own = {model: shown.measured(evidence, world, model) for model in models}
        if any(measured.num_defined for measured in own.values()):
            columns[shown] = own
    best = {shown: _best(evidence, world, shown, own) for shown, own in columns.items()}
    rows = []
    for model in models:
        cells = [
            Entry(written(own[model], shown.form), bold=model == best[shown])
            for shown, own in columns.items()
        ]
        link = f"{lines}#{anchor(world)}"
        rows.append([model.title, *cells, Entry(seeds_said(evidence, world, model), link=link)])
    arrows = {"higher": "↑", "lower": "↓"}
    titles = [f"{shown.title} {arrows[shown.better]}" for shown in columns]
    return Table.of(title, ["model", *titles, "seeds"], rows, caption, folded)


def seeds_said(evidence: Evidence, world: str, model: Model) -> str:
    """How many seeds a model has, and which are missing: "3 of 5, not 3 4"."""
    own, every = evidence.runs(world, model), evidence.seeds(world)
    missing = [str(seed) for seed in every if seed not in own]
    diverged = [str(seed) for seed, row in own.items() if row.diverged]
    said = f"{len(own)} of {len(every)}, not {' '.join(missing)}" if missing else str(len(own))
    return f"{said}; diverged {' '.join(diverged)}" if diverged else said


def _best(
    evidence: Evidence, world: str, shown: Shown, measured: Mapping[Model, Measured]
) -> Model | None:
    """The best federated model of a table; None where best says nothing, or seeds are missing.

    Only models that are defined in every seed of the world compete: fewer seeds may be easier ones.
    """
    if shown.of_cost or shown.key in COUPLINGS:
        return None
    sign, num_seeds = 1 if shown.better == "higher" else -1, len(evidence.seeds(world))
    means = {
        model: sign * own.mean
        for model, own in measured.items()
        if evidence.trains(model) == "federation" and own.num_defined == num_seeds
    }
    return max(means, key=lambda model: means[model]) if means else None


def _read(evidence: Evidence, world: str) -> str:
    pooled, alone = evidence.pooled(world), evidence.alone(world)
    left_out = evidence.measured(world, evidence.models(world)[0], "num_left_out").mean
    parts = [
        "Mean ± standard deviation over seeds; (2 of 3): over so many of the seeds that were "
        f"run; {UNDEFINED}: undefined in all, never 0. Bold: the best federated model of this "
        "table that is defined in every seed; nothing is bold in false coupling, whose ideal is "
        "0.10."
    ]
    if pooled is not None:
        parts.append(
            f"“of pooled” is of {pooled.title}, the pooled model with the best validation."
        )
    if alone is not None:
        parts.append(f"Gains are over {alone.title}.")
    if not math.isnan(left_out) and left_out:
        parts.append(f"Macro means leave out {left_out:.1f} labels with too few positives.")
    return " ".join(parts)
