"""Which models a figure draws, and how: few enough to be told apart, the same on every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from evidence import Evidence, Model

from concilium.reports.charts import FEDAVG, LOCAL, MAIN, OTHERS, POOLED, Series


@dataclass(frozen=True)
class Role:
    """A line of a figure: its name, its look, and the model that plays it in a world."""

    name: str
    look: Series
    fixed: Model | None = None
    trains: str = ""

    def model(self, evidence: Evidence, world: str) -> Model | None:
        """The model in this world; None where it has no rows."""
        if self.trains == "pooled":
            return evidence.pooled(world)
        if self.trains == "hospitals":
            return evidence.alone(world)
        return self.fixed if self.fixed and evidence.runs(world, self.fixed) else None


def roles(default: Model, baseline: Model, classic: str) -> tuple[Role, ...]:
    """Default and baseline with and without its exact head, classic, single labels, references."""
    return (
        Role(default.title, Series(MAIN, "o", 6.5), default),
        Role(f"{default.method}, bare", Series(OTHERS[1], "P"), Model(default.method, "none")),
        Role(baseline.title, Series(FEDAVG, "D"), baseline),
        Role(
            f"{baseline.method} + {default.head}",
            Series(OTHERS[2], "^"),
            Model(baseline.method, default.head),
        ),
        Role(classic, Series(OTHERS[0], "X"), Model(classic, "none")),
        Role("one label at a time", Series(OTHERS[3], "*"), Model("one_label_bce", "none")),
        Role("one label, alone", Series(OTHERS[3], "h"), Model("one_label_local", "none")),
        Role("alone", Series(LOCAL, "v"), trains="hospitals"),
        Role("pooled", Series(POOLED, "s"), trains="pooled"),
    )


def looks(methods: Sequence[str], default: Model, baseline: Model) -> dict[str, Series]:
    """A look for every method, where a figure names each in its own line."""
    others = cycle([Series(color, marker) for marker in "^PX*h" for color in OTHERS])
    known = {default.method: Series(MAIN, "o", 6.5), baseline.method: Series(FEDAVG, "D")}
    return {method: known.get(method) or next(others) for method in methods}
