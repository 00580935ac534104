"""Tables for the questions of the founding text, one function a question.

Each is asked of the worlds that can answer it, and says so where none can.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from evidence import Evidence, Model
from paired import counted, hospital_gain, paired, relative_to_pooled
from shown import DIVERGED, SHOWN, all_diverged
from sweeps import Sweep
from table_forms import Entry, Table

from concilium.reports.markup import number
from concilium.studies.columns import NAN, defined
from concilium.studies.comparison import UNDEFINED

CLASSIC = "softmax"
ERASABLE = ("set_recall", "rare_ap", "tail_ap", "map")
SWEPT = ("set_recall", "rare_ap", "map", "auroc", "false_coupling", "missed_second")
OF_POOLED = ("set_recall", "rare_ap", "map")
COUNTED = "(2 of 3): over so many of the seeds that were run, the others are undefined or missing."


def erased(evidence: Evidence, models: Sequence[Model]) -> Table:
    """How much of the pooled model's recall and AP each model keeps, in every world."""
    titles = [f"{SHOWN[key].title}, % of pooled" for key in ERASABLE]
    rows: list[list[Entry | str]] = []
    for world in evidence.worlds:
        for model in models:
            parts = [_percent(evidence, world, model, key) for key in ERASABLE]
            if any(defined(own.values()) for own in parts) or _lost(evidence, world, model, "map"):
                cells = [_share(values, len(evidence.seeds(world))) for values in parts]
                rows.append([_title(evidence, world, model), *cells])
    caption = (
        "100 is pooled training of the same seed; [95 % interval of the mean over seeds]. Where "
        f"the interval reaches 100, nothing is shown to be erased. {COUNTED}"
    )
    return Table.of("What is kept of pooled training", ["world: model", *titles], rows, caption)


def kept(evidence: Evidence, model: Model, key: str) -> dict[str, float]:
    """Mean percent of the pooled model's value by world, where it is defined.

    Minus infinity where a training diverged at a seed at which the pooled one did not: a mean over
    the other seeds would reward it.
    """
    every = {w: defined(_percent(evidence, w, model, key).values()) for w in evidence.worlds}
    means = {world: math.fsum(own) / len(own) for world, own in every.items() if own}
    lost = [world for world in evidence.worlds if _lost(evidence, world, model, key)]
    return means | dict.fromkeys(lost, -math.inf)


def part_said(percent: float, unit: str = "") -> str:
    """What ``kept`` gives, or a median of it, as text."""
    return DIVERGED if percent == -math.inf else number(percent, ".0f") + unit


def restored(evidence: Evidence) -> Table:
    """Every model over all worlds: how much of pooled training it keeps, middle and least."""
    rows = []
    for model in evidence.every_model:
        cells = []
        for key in ERASABLE:
            means = kept(evidence, model, key)
            low = min(means.values(), default=NAN)
            middle = statistics.median(means.values()) if means else NAN
            cells += [part_said(middle), part_said(low)]
        if any(cell != UNDEFINED for cell in cells):
            means = kept(evidence, model, "map")
            counts = [sum(_fewer(evidence, w, model) for w in evidence.worlds), len(means)]
            rows.append([model.title, *cells, *map(str, counts)])
    titles = [t for key in ERASABLE for t in (f"{SHOWN[key].title}, median world", "least")]
    caption = (
        "Percent of the pooled model's value, mean over seeds in each world. Models of fewer "
        "worlds (last column) are not to be compared with those of more. Fewer seeds: worlds in "
        "which one of these means goes over fewer seeds than the pooled model's. A world in which "
        "a training diverged is below all others."
    )
    columns = ["model", *titles, "fewer seeds", "worlds"]
    return Table.of("All models over all worlds", columns, rows, caption)


def _lost(evidence: Evidence, world: str, model: Model, key: str) -> bool:
    """Whether it diverged at a seed at which the pooled model has the number."""
    return not evidence.diverged(world, model).isdisjoint(_pooled_seeds(evidence, world, key))


def _fewer(evidence: Evidence, world: str, model: Model) -> bool:
    """Whether some mean of what it keeps lacks seeds that the pooled model has."""
    return bool(evidence.runs(world, model)) and any(
        len(defined(_percent(evidence, world, model, key).values()))
        < len(_pooled_seeds(evidence, world, key))
        for key in ERASABLE
    )


def _pooled_seeds(evidence: Evidence, world: str, key: str) -> set[int]:
    """Seeds at which the pooled model has a number above 0, of which others can be a part."""
    pooled = evidence.pooled(world)
    own = evidence.values(world, pooled, key) if pooled else {}
    return {seed for seed, value in own.items() if value > 0}


def erases(evidence: Evidence, baseline: Model, most: int | None = None) -> list[str]:
    """Where the baseline erases, where it does not, and where nobody can say, in sentences.

    At most ``most`` places are named in each, the ones with least left first.
    """
    groups: dict[str, list[tuple[float, str]]] = {
        kind: [] for kind in ("erases", "keeps", "unknown", "diverged")
    }
    for world in evidence.worlds:
        for key in ERASABLE[:2]:
            values = _percent(evidence, world, baseline, key)
            gap = paired(values, dict.fromkeys(values, 100.0))
            if _lost(evidence, world, baseline, key):
                groups["diverged"].append((0, f"{world} ({SHOWN[key].title})"))
            elif gap.num_pairs:
                kind = {"worse": "erases", "unknown": "unknown"}.get(gap.verdict("higher"), "keeps")
                part = gap.mean + 100
                said = counted(f"{part:.0f} %", gap.num_pairs, len(evidence.seeds(world)))
                groups[kind].append((part, f"{world} ({SHOWN[key].title}: {said})"))
    leads = {
        "diverged": f"{baseline.title} diverged at some seed, what it keeps is not counted, in",
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
                gap = paired(*(shown.values(evidence, world, m) for m in (model, bare)))
                cells += [shown.text(evidence, world, m) for m in (model, bare)]
                cells.append(gap.text(shown.form, len(evidence.seeds(world))))
            rows.append([_title(evidence, world, model), *cells])
    titles = [t for key in keys for t in (SHOWN[key].title, classic, "difference [95 %]")]
    caption = (
        f"Missed / 1,000: {SHOWN['missed'].meaning}. Missed 2nd: {SHOWN['missed_second'].meaning}. "
        f"Below 0 is better in both, above 0 in AUROC. {COUNTED}"
    )
    return Table.of("Several findings at once", ["world: model", *titles], rows, caption)


def gained(evidence: Evidence, models: Sequence[Model]) -> Table:
    """What each hospital gains over training alone."""
    keys = ("gain_mean", "gain_worst", "gain_share")
    rows: list[list[Entry | str]] = []
    for world in evidence.worlds:
        for model in models:
            alone, gain = evidence.alone(world), hospital_gain(evidence, world, model)
            if alone and (
                defined(gain.by_seed("mean").values()) or evidence.diverged(world, model)
            ):
                cells = [SHOWN[key].text(evidence, world, model) for key in keys]
                more = [alone.title, str(gain.num_undefined)]
                rows.append([_title(evidence, world, model), *cells, *more])
    titles = ["gain, mean", "least gain of a hospital", "share that gains", "alone", "undefined"]
    caption = (
        "Macro AUROC on each hospital's own test exams minus that of what it has alone; mean ± "
        "standard deviation over seeds. Undefined: hospitals, all seeds together, without an AUROC "
        f"under one of the two: they are left out. {COUNTED}"
    )
    return Table.of("What each hospital gains", ["world: model", *titles], rows, caption)


def swept(evidence: Evidence, sweep: Sweep, key: str, of_pooled: bool = False) -> Table:
    """One number of every model at every severity."""
    shown = SHOWN[f"{key}_of_pooled" if of_pooled else key]
    rows = []
    for model in sweep.models(evidence):
        cells = [shown.text(evidence, world, model) for world in sweep.worlds]
        if any(shown.measured(evidence, w, model).num_defined for w in sweep.worlds) or any(
            all_diverged(evidence, world, model) for world in sweep.worlds
        ):
            rows.append([model.title, *cells])
    title = f"{shown.title} by {sweep.severity} ({sweep.family})"
    titles = ["model", *(f"{sweep.severity} = {value:g}" for value in sweep.values)]
    caption = f"Mean ± standard deviation over seeds. {COUNTED}"
    return Table.of(title, titles, rows, caption, folded=True)


def _title(evidence: Evidence, world: str, model: Model) -> str:
    """World and model, and the seeds at which it diverged."""
    diverged = " ".join(map(str, sorted(evidence.diverged(world, model))))
    return f"{world}: {model.title}" + (f"; {DIVERGED} {diverged}" if diverged else "")


def _percent(evidence: Evidence, world: str, model: Model, key: str) -> dict[int, float]:
    """By seed that both have, 100 being the pooled model's; NaN where undefined."""
    found = relative_to_pooled(evidence, world, model, key)
    return {seed: 100 * value for seed, value in found.items()}


def _share(values: dict[int, float], num_seeds: int) -> str:
    """Mean and interval of percentages."""
    gap = paired(values, dict.fromkeys(values, 0.0))
    return gap.text(".0f", num_seeds).replace("+", "")
