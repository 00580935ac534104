"""A default method beside a baseline: what got better, and as plainly what got worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evidence import Evidence, Model, Values
from paired import Paired, Verdict, counted, decided, divergences, paired
from shown import JUDGED, SHOWN, written
from table_forms import Table

from concilium.reports.markup import number
from concilium.studies.columns import Better
from concilium.studies.comparison import UNDEFINED

DEFAULT, BASELINE = Model("concilium", "newton"), Model("fedavg_bce", "none")
SAME_HEAD = Model(BASELINE.method, DEFAULT.head)
"""The baseline with the default's head: what is better than this is not the head's doing."""
TITLES: dict[Verdict, str] = {
    "better": "What got better",
    "worse": "What got worse",
    "tie": "What may be chance: the interval includes 0",
    "unknown": "What nobody can say: too few seeds for an interval",
}


@dataclass(frozen=True)
class Compared:
    """One number of two models in one world, which has ``num_seeds``.

    The one that diverged at more seeds is the worse one.
    """

    world: str
    what: str
    first: str
    second: str
    gap: Paired
    verdict: Verdict
    form: str
    num_seeds: int


def compared(
    evidence: Evidence, first: Model, second: Model, keys: Sequence[str] = JUDGED
) -> tuple[Compared, ...]:
    """Every number that both define in a shared seed, world by world."""
    found, models = [], (first, second)
    for world in _shared(evidence, first, second):
        num_seeds = len(evidence.seeds(world))
        for shown in (SHOWN[key] for key in keys):
            values = [shown.judged(evidence, world, model) for model in models]
            gap, verdict = _judged(evidence, world, models, values, shown.better)
            if verdict is not None:
                texts = [shown.text(evidence, world, model) for model in models]
                more = (gap, verdict, shown.form, num_seeds)
                found.append(Compared(world, shown.title, texts[0], texts[1], *more))
    return tuple(found)


def compared_labels(
    evidence: Evidence, first: Model, second: Model, metric: str = "average_precision"
) -> tuple[Compared, ...]:
    """The same for one metric of each label."""
    better: Better = "lower" if metric == "false_coupling" else "higher"
    found, models, form = [], (first, second), ".3f"
    for world in _shared(evidence, first, second):
        for label in _labels(evidence, world, models):
            values = [evidence.of_label(world, model, label, metric) for model in models]
            gap, verdict = _judged(evidence, world, models, values, better)
            if verdict is not None:
                texts = [written(evidence.over_seeds(world, own), form) for own in values]
                more = (gap, verdict, form, len(evidence.seeds(world)))
                found.append(Compared(world, label, texts[0], texts[1], *more))
    return tuple(found)


def _labels(evidence: Evidence, world: str, models: tuple[Model, Model]) -> tuple[str, ...]:
    """The labels of any of their rows: one that diverged has none."""
    rows = [row for model in models for row in evidence.runs(world, model).values()]
    return tuple(dict.fromkeys(label for row in rows for label in row.by_label))


def _judged(
    evidence: Evidence,
    world: str,
    models: tuple[Model, Model],
    values: Sequence[Values],
    better: Better,
) -> tuple[Paired, Verdict | None]:
    """What differs, and what that says; None where no pair is defined and no divergence tells."""
    first, second = values
    gap = paired(first, second)
    balance = divergences(evidence, world, models, (first, second))
    says_something = gap.num_pairs > 0 or balance != 0
    return gap, decided(gap, balance, better) if says_something else None


def at_a_glance(found: Sequence[Compared], first: Model, second: Model) -> Table:
    """Worlds by numbers: where the first is better, where it is worse, where nobody can say."""
    whats = list(dict.fromkeys(own.what for own in found))
    by_place = {(own.world, own.what): own for own in found}
    rows = [
        [world, *(_glance(by_place.get((world, what))) for what in whats)]
        for world in dict.fromkeys(own.world for own in found)
    ]
    caption = (
        f"{first.title} minus {second.title}, mean over paired seeds. ▲ better, ▼ worse: the 95 % "
        "interval excludes 0, or the other diverged at more seeds. ·: it does not; ?: too few "
        "seeds for an interval. (2 of 3): so many pairs of the seeds that were run."
    )
    return Table.of("Better and worse at a glance", ["world", *whats], rows, caption)


def tables(
    found: Sequence[Compared], first: Model, second: Model, what: str = "number"
) -> tuple[Table, ...]:
    """Better, worse and undecided in the same form and the same detail."""
    titles = ["world", what, first.title, second.title, "difference [95 % interval]", "pairs"]
    made = []
    for verdict, title in TITLES.items():
        own = [
            [c.world, c.what, c.first, c.second, c.gap.text(c.form, c.num_seeds), _pairs(c.gap)]
            for c in found
            if c.verdict == verdict
        ]
        if own or verdict in ("better", "worse"):
            lead = f"{title} ({len(own)})" if what == "number" else f"{what}: {title} ({len(own)})"
            made.append(Table.of(lead, titles, own, folded=True))
    return tuple(made)


def in_sentences(found: Sequence[Compared]) -> list[str]:
    """In which numbers it is better, and in which worse, in how many worlds."""
    worlds = Counter(own.what for own in found)
    said = []
    for verdict, lead in (("better", "Better"), ("worse", "Worse")):
        counts = Counter(own.what for own in found if own.verdict == verdict)
        texts = [f"{what} ({n} of {worlds[what]} worlds)" for what, n in counts.most_common()]
        said.append(f"{lead} beyond chance: {', '.join(texts) or 'in nothing'}.")
    return said


def said(found: Sequence[Compared], first: Model, second: Model) -> str:
    """How often better, worse, and undecided, in one sentence."""
    if not found:
        return f"No world has seeds of both {first.title} and {second.title}."
    counts = Counter(own.verdict for own in found)
    worlds = len({own.world for own in found})
    return (
        f"{first.title} against {second.title}, {len(found)} numbers in {worlds} worlds: better in "
        f"{counts['better']}, worse in {counts['worse']}, within chance in {counts['tie']}, too "
        f"few seeds in {counts['unknown']}. Of intervals around no difference at all, one in "
        "twenty excludes 0 by chance."
    )


def _shared(evidence: Evidence, first: Model, second: Model) -> list[str]:
    return [w for w in evidence.worlds if evidence.runs(w, first) and evidence.runs(w, second)]


def _glance(own: Compared | None) -> str:
    if own is None:
        return UNDEFINED
    sign = {"better": "▲", "worse": "▼", "tie": "·", "unknown": "?"}[own.verdict]
    text = f"{sign} {number(own.gap.mean, f'+{own.form}')}"
    return counted(text, own.gap.num_pairs, own.num_seeds)


def _pairs(gap: Paired) -> str:
    said = str(gap.num_pairs)
    if gap.undefined:
        said += f"; undefined {' '.join(map(str, gap.undefined))}"
    if gap.unpaired:
        said += f"; in one only {' '.join(map(str, gap.unpaired))}"
    return said
