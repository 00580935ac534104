"""The numbers of tables that recipes quote, each as it stands in the page it is quoted from.

When a table is made anew: change them here, then `python -m docs.make_recipes`. Tests look each of
them up in its page, and in `docs/recipes.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Source = tuple[str, str]
"""A file of the repository, and the beginning of a heading in it."""


@dataclass(frozen=True)
class Table:
    """What is quoted of one section.

    ``world`` says what it was measured on and over how many seeds; ``cells`` are those of its first
    row and column so named, without their spread; ``said`` are numbers in its running text, each by
    words that stand in the same line.
    """

    source: Source
    world: str
    cells: Mapping[str, Mapping[str, str]]
    said: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, row: str, column: str) -> str:
        """One cell."""
        return self.cells[row][column]


PHANTOMS = Table(
    source=("docs/results.md", "Phantoms, 20 hospitals"),
    world="Phantoms, 20 hospitals, one alone with Hernia, 5 seeds",
    cells={
        "fedavg, BCE": {"mAP": "0.432", "rare-label AP": "0.074"},
        "with a Newton head": {"mAP": "0.437", "rare-label AP": "0.048"},
        "concilium": {"mAP": "0.469", "rare-label AP": "0.228"},
        "pooled, BCE": {"mAP": "0.541", "rare-label AP": "0.365"},
        "pooled with a Newton head": {"mAP": "0.545", "rare-label AP": "0.315"},
        "concilium − fedavg, both Newton": {
            "mAP": "+0.032 [+0.012, +0.052]",
            "rare-label AP": "+0.180 [−0.146, +0.505]",
        },
    },
)
PHANTOMS_LONG = Table(
    source=("docs/results.md", "The same phantoms, 160 rounds"),
    world="Phantoms, 20 hospitals, 160 rounds, 3 seeds",
    cells={
        "fedavg, BCE": {"mAP": "0.490"},
        "concilium": {"mAP": "0.504", "mAP, % of pooled": "90.7"},
        "pooled with a Newton head": {"mAP": "0.551"},
    },
)
INGREDIENTS = Table(
    source=("docs/results.md", "What each ingredient adds"),
    world="Phantoms, 20 hospitals, 3 seeds",
    cells={
        "momentum alone": {"mAP": "+0.042 [+0.011, +0.072]"},
        "weighting, given momentum": {
            "mAP": "−0.003 [−0.019, +0.013]",
            "head AP": "−0.014 [−0.019, −0.008]",
        },
    },
)
COUPLING = Table(
    source=("docs/results.md", "Co-occurrence skew on phantoms"),
    world="Phantoms, 6 hospitals, three pairs coupled at one hospital each, 3 seeds",
    cells={
        "co-occurrence-adjusted, no head": {"false coupling": "0.153", "macro AUROC": "0.859"},
        "pooled, BCE": {"false coupling": "0.160", "macro AUROC": "0.888"},
        "fedavg, BCE": {"false coupling": "0.169", "macro AUROC": "0.869"},
    },
)
PARTIAL = Table(
    source=("docs/results.md", "Frozen features, 8 hospitals that annotate 5"),
    world="Real features, 8 hospitals that annotate 5 of 14 labels each, 5 seeds",
    cells={
        "evidence − images, both Newton": {"macro AUROC": "+0.001 [−0.002, +0.003]"},
        "evidence − images, no head": {"macro AUROC": "+0.003 [−0.005, +0.012]"},
    },
)
LINEAR = Table(
    source=("docs/results.md", "Specialists by halves, exams dealt out alike, 100"),
    world="Real features, 20 hospitals, 5 seeds",
    cells={
        "concilium": {"λ = 1": "0.186", "linear network": "0.189"},
    },
    said={"linear − MLP": "+.004 [.001, .007]", "specialists": "+.005 [.001, .009]"},
)
CLASSIC = Table(
    source=("docs/results.md", "Tables that are not radiographs"),
    world="Two classic tables, 8 holders, 5 seeds",
    cells={
        "concilium − fedavg, both Newton": {"mAP": "−0.002 [−0.004, −0.000]"},
        "SCAFFOLD, Newton": {"mAP": "0.526"},
        "concilium": {"mAP": "0.520"},
    },
)
PHANTOMS_TRIED = Table(
    source=("docs/results.md", "What was tried for the body"),
    world="Phantoms, 20 hospitals, one seed",
    cells={
        "FedAvg, Adam .001, batches of 32, 1 local epoch, 40 rounds": {"mAP": ".31"},
        "the same with batches of 8": {"mAP": ".32"},
        "FedAvg, SGD .3, batches of 8": {"mAP": ".33"},
        "… FedCM, α = .3": {"mAP": ".41"},
        "… 160 rounds of FedAvg": {"mAP": ".44"},
    },
)
PHANTOMS_COMPRESSED = Table(
    source=("docs/speed.md", "Aggregation and compression"),
    world="Phantoms, 5 hospitals, 3 seeds",
    cells={
        "bfloat16": {"AUROC": "+.0005 ± .0013", "mAP": ".397", "bytes up": "50 %"},
        "top 10 %": {"AUROC": "−.013", "bytes up": "20 %"},
    },
    said={"mAP (none": ".398"},
)
FEATURES = Table(
    source=("docs/results.md", "Frozen features, 20 hospitals"),
    world="Real features, 20 hospitals, 10 seeds",
    cells={
        "fedavg, BCE": {"mAP": "0.182", "macro AUROC": "0.728", "rare-label AP": "0.032"},
        "with a Newton head": {"macro AUROC": "0.743", "rare-label AP": "0.041"},
        "concilium": {"mAP": "0.186", "macro AUROC": "0.751", "mAP, % of pooled": "99.9"},
        "pooled, balanced BCE": {"mAP": "0.187", "rare-label AP": "0.040"},
        "concilium − fedavg, both Newton": {
            "mAP": "+0.003 [+0.001, +0.006]",
            "macro AUROC": "+0.008 [+0.006, +0.010]",
        },
    },
    said={"Co-occurrence skew": ".110 to .116", "no false coupling to lower": "ideal .10"},
)

TABLES = (
    *(PHANTOMS, PHANTOMS_LONG, INGREDIENTS, COUPLING, PHANTOMS_TRIED, PHANTOMS_COMPRESSED),
    *(FEATURES, PARTIAL, CLASSIC, LINEAR),
)
