"""Tables for the questions of the founding text, one function a question.

Each is asked of the worlds that can answer it, and says so where none can.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from evidence import Evidence, Model
from paired import Paired, hospital_gain, paired, relative_to_pooled
from ranking import Ranks, ranks, score
from shown import SHOWN, written
from sweeps import Sweep
from table_forms import Entry, Table

from concilium.reports.markup import number
from concilium.studies.columns import NAN
from concilium.studies.comparison import UNDEFINED, Measured

CLASSIC = "softmax"
ERASABLE = ("set_recall", "rare_ap", "tail_ap", "map")
SWEPT = ("set_recall", "rare_ap", "map", "auroc", "false_coupling", "missed_second")
OF_POOLED = ("set_recall", "rare_ap", "map")
RANKED_HEADS = ("none", "newton")
RANKED = ("map", "auroc", "rare_ap", "worst_hospital")
COUPLING_BELOW, AUROC_COST = 20.0, 0.005
"""What decoupling is asked for: percent below pooled training, at that cost of macro AUROC."""


def erased(evidence: Evidence, models: Sequence[Model]) -> Table:
    """How much of the pooled model's recall and AP each model keeps, in every world."""
    titles = [f"{SHOWN[key].title}, % of pooled" for key in ERASABLE]
    rows: list[list[Entry | str]] = []
    for world in evidence.worlds:
        for model in models:
            parts = [_percent(evidence, world, model, key) for key in ERASABLE]
            if any(parts):
                cells = [_share(values) for values in parts]
                rows.append([f"{world}: {model.title}", *cells])
    caption = (
        "100 is pooled training of the same seed; [95 % interval of the mean over seeds]. Where "
        "the interval reaches 100, nothing is shown to be erased."
    )
    return Table.of("What is kept of pooled training", ["world: model", *titles], rows, caption)


def kept(evidence: Evidence, model: Model, key: str) -> dict[str, float]:
    """Mean percent of the pooled model's value by world, where it is defined."""
    every = {world: _percent(evidence, world, model, key) for world in evidence.worlds}
    return {world: math.fsum(own.values()) / len(own) for world, own in every.items() if own}


def restored(evidence: Evidence) -> Table:
    """Every model over all worlds: how much of pooled training it keeps, middle and least."""
    rows = []
    for model in evidence.every_model:
        cells = []
        for key in ERASABLE:
            means = kept(evidence, model, key)
            low = min(means.values(), default=NAN)
            middle = statistics.median(means.values()) if means else NAN
            cells += [number(middle, ".0f"), number(low, ".0f")]
        if any(cell != UNDEFINED for cell in cells):
            rows.append([model.title, *cells, str(len(kept(evidence, model, "map")))])
    titles = [t for key in ERASABLE for t in (f"{SHOWN[key].title}, median world", "least")]
    caption = (
        "Percent of the pooled model's value, mean over seeds in each world. Models of fewer "
        "worlds (last column) are not to be compared with those of more."
    )
    return Table.of("All models over all worlds", ["model", *titles, "worlds"], rows, caption)


def erases(evidence: Evidence, baseline: Model, most: int | None = None) -> list[str]:
    """Where the baseline erases, where it does not, and where nobody can say, in sentences.

    At most ``most`` places are named in each, the ones with least left first.
    """
    groups: dict[str, list[tuple[float, str]]] = {"erases": [], "keeps": [], "unknown": []}
    for world in evidence.worlds:
        for key in ERASABLE[:2]:
            values = _percent(evidence, world, baseline, key)
            gap = paired(values, dict.fromkeys(values, 100.0))
            if gap.num_pairs:
                kind = {"worse": "erases", "unknown": "unknown"}.get(gap.verdict("higher"), "keeps")
                part = gap.mean + 100
                groups[kind].append((part, f"{world} ({SHOWN[key].title}: {part:.0f} %)"))
    leads = {
        "erases": f"{baseline.title} erases, its interval lies below pooled training, in",
        "keeps": f"{baseline.title} is not shown to erase anything in",
        "unknown": "There are too few seeds to say whether it erases in",
    }
    return [f"{leads[kind]} {_named(own, most)}." for kind, own in groups.items() if own]


def _named(found: Sequence[tuple[float, str]], most: int | None) -> str:
    names = [name for _, name in sorted(found)]
    shown = names if most is None else names[:most]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def decoupled(evidence: Evidence, world: str) -> Table:
    """False coupling of every model relative to pooled training, and what it costs in AUROC."""
    pooled = evidence.pooled(world)
    rows: list[list[Entry | str]] = []
    for model in evidence.models(world):
        lower, cost = coupling_and_cost(evidence, world, model)
        if lower.num_pairs and cost.num_pairs:
            reached = -lower.mean >= COUPLING_BELOW and -cost.mean <= AUROC_COST
            coupling = SHOWN["false_coupling"].measured(evidence, world, model)
            auroc = SHOWN["auroc"].measured(evidence, world, model)
            rows.append(
                [
                    Entry(model.title, bold=reached),
                    written(coupling, ".3f"),
                    lower.text(".1f"),
                    written(auroc, ".3f"),
                    cost.text(".3f"),
                ]
            )
    titles = ["model", "false coupling", "% against pooled", "macro AUROC", "against pooled"]
    caption = (
        f"Against {pooled.title if pooled else 'no pooled model'}, paired over seeds, [95 % "
        f"interval]. Bold: at least {COUPLING_BELOW:.0f} % less false coupling at a mean cost "
        f"of at most {AUROC_COST} macro AUROC. Alone 0.10 is ideal: a model that "
        "alerts less everywhere is not decoupled."
    )
    severity = evidence.first(world).severity
    folded = severity is None or "coupl" not in severity[0]
    return Table.of(f"{world}: false coupling and its price", titles, rows, caption, folded)


def cheapest(evidence: Evidence) -> Table:
    """In each world the federated model that couples least at a price that may be paid."""
    rows = []
    for world in evidence.worlds:
        found = {}
        for model in evidence.models(world):
            lower, cost = coupling_and_cost(evidence, world, model)
            federated = evidence.trains(model) == "federation"
            if federated and lower.num_pairs and cost.num_pairs and -cost.mean <= AUROC_COST:
                found[model] = (lower, cost)
        if found:
            model = min(found, key=lambda own: found[own][0].mean)
            lower, cost = found[model]
            reached = "yes" if -lower.mean >= COUPLING_BELOW else "no"
            rows.append([world, model.title, lower.text(".1f"), cost.text(".3f"), reached])
    titles = ["world", "model", "false coupling, % against pooled", "AUROC against pooled"]
    caption = (
        f"Of the federated models that cost at most {AUROC_COST} macro AUROC against pooled "
        "training, the one with the least false coupling. It is picked on the test exams, so it is "
        "the best trade-off reached, not what somebody who chooses beforehand may expect."
    )
    return Table.of("Least false coupling", [*titles, "20 % less?"], rows, caption)


def coupling_and_cost(evidence: Evidence, world: str, model: Model) -> tuple[Paired, Paired]:
    """Change of false coupling in percent of pooled training, and of macro AUROC."""
    part = relative_to_pooled(evidence, world, model, "false_coupling")
    lower = paired({s: 100 * v for s, v in part.items()}, dict.fromkeys(part, 100.0))
    pooled = evidence.pooled(world)
    other = evidence.values(world, pooled, "auroc") if pooled else {}
    return lower, paired(evidence.values(world, model, "auroc"), other)


def multi_label(evidence: Evidence, models: Sequence[Model], classic: str = CLASSIC) -> Table:
    """Missed findings beside the classic system that looks for the most obvious one."""
    keys, bare = ("missed", "missed_second", "auroc"), Model(classic, "none")
    rows: list[list[Entry | str]] = []
    for world in evidence.worlds:
        for model in models:
            if not evidence.runs(world, bare) or not evidence.runs(world, model):
                continue
            cells: list[str] = []
            for shown in (SHOWN[key] for key in keys):
                own, other = (shown.values(evidence, world, m) for m in (model, bare))
                gap = paired(own, other)
                cells += [
                    written(Measured.of(own.values()), shown.form),
                    written(Measured.of(other.values()), shown.form),
                    gap.text(shown.form),
                ]
            rows.append([f"{world}: {model.title}", *cells])
    titles = [t for key in keys for t in (SHOWN[key].title, classic, "difference [95 %]")]
    caption = (
        f"Missed / 1,000: {SHOWN['missed'].meaning}. Missed 2nd: {SHOWN['missed_second'].meaning}. "
        "Below 0 is better in both, above 0 in AUROC."
    )
    return Table.of("Several findings at once", ["world: model", *titles], rows, caption)


def gained(evidence: Evidence, models: Sequence[Model]) -> Table:
    """What each hospital gains over training alone."""
    keys = ("gain_mean", "gain_worst", "gain_share")
    rows: list[list[Entry | str]] = []
    for world in evidence.worlds:
        for model in models:
            measured = [SHOWN[key].measured(evidence, world, model) for key in keys]
            if measured[0].num_defined:
                gain = hospital_gain(evidence, world, model)
                alone = evidence.alone(world)
                cells = [written(m, SHOWN[k].form) for k, m in zip(keys, measured, strict=True)]
                name = alone.title if alone else ""
                rows.append([f"{world}: {model.title}", *cells, name, str(gain.num_undefined)])
    titles = ["gain, mean", "least gain of a hospital", "share that gains", "alone", "undefined"]
    caption = (
        "Macro AUROC on each hospital's own test exams minus that of what it has alone; mean ± "
        "standard deviation over seeds. Undefined: hospitals, all seeds together, without an AUROC "
        "under one of the two: they are left out."
    )
    return Table.of("What each hospital gains", ["world: model", *titles], rows, caption)


def swept(evidence: Evidence, sweep: Sweep, key: str, of_pooled: bool = False) -> Table:
    """One number of every model at every severity."""
    shown = SHOWN[f"{key}_of_pooled" if of_pooled else key]
    rows = []
    for model in sweep.models(evidence):
        cells = [written(shown.measured(evidence, w, model), shown.form) for w in sweep.worlds]
        if any(shown.measured(evidence, w, model).num_defined for w in sweep.worlds):
            rows.append([model.title, *cells])
    title = f"{shown.title} by {sweep.severity} ({sweep.family})"
    titles = ["model", *(f"{sweep.severity} = {value:g}" for value in sweep.values)]
    return Table.of(title, titles, rows, folded=True)


def wins(evidence: Evidence, default: Model) -> Table:
    """Wins, ties and losses of the default against every other model."""
    rows = []
    for model in evidence.every_model:
        scores = [score(evidence, default, model, k, SHOWN[k].better) for k in RANKED]
        if model != default and any(own.total for own in scores):
            rows.append([model.title, *(own.text() for own in scores)])
    titles = [f"against, over {_num_worlds(evidence, default)} worlds"]
    caption = (
        f"Worlds in which {default.title} wins / ties / loses: the paired 95 % interval over seeds "
        "lies above 0, includes it, lies below. Worlds of one sweep resemble each other; intervals "
        "are not widened for the number of comparisons."
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
    return ranks(evidence, models, key, SHOWN[key].better)


def ranks_table(found: Ranks, key: str, head: str) -> Table:
    """Average ranks, with what tells them apart."""
    order = sorted(zip(found.average, found.models, strict=True))
    rows = [[model.title, f"{average:.2f}"] for average, model in order]
    p = "undefined" if math.isnan(found.p) else f"{found.p:.2g}"
    caption = (
        f"1 is best. {found.num_blocks} blocks (world and seed) in {len(found.worlds)} worlds, "
        f"{found.num_left_out} left out because a model lacks them: Friedman p = {p}; ranks "
        f"{found.difference:.2f} apart differ at 5 % (Nemenyi). Seeds of one world resemble each "
        f"other: with a block a world it takes {found.by_world:.2f}."
    )
    title = f"Average ranks in {SHOWN[key].title}, head: {head}"
    return Table.of(title, ["model", "rank"], rows, caption)


def _percent(evidence: Evidence, world: str, model: Model, key: str) -> dict[int, float]:
    found = relative_to_pooled(evidence, world, model, key)
    return {seed: 100 * value for seed, value in found.items() if not math.isnan(value)}


def _share(values: dict[int, float]) -> str:
    """Mean and interval of percentages."""
    gap = paired(values, dict.fromkeys(values, 0.0))
    return gap.text(".0f").replace("+", "")


def _num_worlds(evidence: Evidence, model: Model) -> int:
    return sum(bool(evidence.runs(world, model)) for world in evidence.worlds)
