"""The default against all others over all worlds, and the ranks of all."""

from __future__ import annotations

import math
from dataclasses import replace

from evidence import Evidence, Model
from ranking import Ranks, ranks, score
from shown import SHOWN
from table_forms import Table

RANKED_HEADS = ("none", "newton")
RANKED = ("map", "auroc", "rare_ap", "worst_hospital")


def wins(evidence: Evidence, default: Model) -> Table:
    """Wins, ties and losses of the default against every other model."""
    rows, every = [], []
    for model in evidence.every_model:
        scores = [score(evidence, default, model, k, SHOWN[k].better) for k in RANKED]
        if model != default and any(own.total for own in scores):
            rows.append([model.title, *(own.text() for own in scores)])
            every += scores
    titles = [f"against, over {_num_worlds(evidence, default)} worlds"]
    caption = (
        f"Worlds in which {default.title} wins / ties / loses: the paired 95 % interval over seeds "
        "lies above 0, includes it, lies below. A model that diverged at more seeds of a world "
        f"than the other loses it: {sum(own.diverged for own in every)} wins and losses. "
        f"{sum(own.left_out for own in every)} pairs are left out, as one of the two has no row or "
        "is undefined. Worlds of one sweep resemble each other; intervals are not widened for the "
        "number of comparisons."
    )
    columns = [*titles, *(SHOWN[key].title for key in RANKED)]
    return Table.of("Wins, ties and losses", columns, rows, caption)


def ranked(evidence: Evidence, head: str, key: str = "map") -> Ranks | None:
    """Ranks of the methods under one head.

    Only worlds count in which all compared methods have rows, so a method that less than half of
    the worlds have does not compete.
    """
    every = [model for model in evidence.every_model if model.head == head]
    worlds = [w for w in evidence.worlds if any(evidence.runs(w, model) for model in every)]
    models = [m for m in every if 2 * sum(bool(evidence.runs(w, m)) for w in worlds) >= len(worlds)]
    found = ranks(evidence, models, key, SHOWN[key].better)
    return found and replace(found, num_models_left_out=len(every) - len(models))


def ranks_table(found: Ranks, key: str, head: str) -> Table:
    """Average ranks, with what tells them apart."""
    order = sorted(zip(found.average, found.models, strict=True))
    rows = [[model.title, f"{average:.2f}"] for average, model in order]
    p = "undefined" if math.isnan(found.p) else f"{found.p:.2g}"
    caption = (
        f"1 is best. {found.text()} Friedman p = {p}; ranks {found.difference:.2f} apart differ at "
        "5 % (Nemenyi). Seeds of one world resemble each other: with a block a world it takes "
        f"{found.by_world:.2f}."
    )
    title = f"Average ranks in {SHOWN[key].title}, head: {head}"
    return Table.of(title, ["model", "rank"], rows, caption)


def _num_worlds(evidence: Evidence, model: Model) -> int:
    return sum(bool(evidence.runs(world, model)) for world in evidence.worlds)
