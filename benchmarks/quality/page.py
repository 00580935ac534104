"""``index.html``: the benchmark on one page that needs no other file, no script and no network.

Made from result rows alone. What got worse stands beside what got better, in the same form.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import answers
import comparisons
import coupling_tables
import labels_needed
import tables
import world_tables
from cast import Cast, Picture
from comparisons import SAME_HEAD
from evidence import Evidence, Model
from figures import pictures
from rows import Row
from shown import SHOWN
from sweeps import sweeps_of
from table_forms import as_html

from concilium.foundation.files import write_atomically
from concilium.reports.markup import (
    Html,
    element,
    figure,
    folded,
    items,
    joined,
    paragraph,
    section,
)

TITLE = "The quality benchmark of concilium"
DISCLAIMER = "Research software, not a medical device, does not rule out disease."
MOST_NAMED = 4  # worlds in a sentence of the summary
SUMMARISED = ("map", "rare_ap", "set_recall")
MORE_STYLE = "td, tbody th { vertical-align: top; } h3 + .scroll { margin-top: .5rem; }"
LIMITS = (
    "Intervals go over seeds: another split, another start, the same data. They say nothing of "
    "other hospitals or other data.",
    "Hospitals are simulated from one data set each. Phantom images are drawn, not taken: they "
    "show whether methods do what they promise, and nothing about patients.",
    "Intervals are not widened for the number of comparisons on this page: of twenty differences "
    "that are none, one is shown as one.",
    "Worlds of one sweep share their data and the settings chosen in one of them; they are not "
    "independent pieces of evidence in a count of wins.",
    "The best of many on the test exams, where a table picks one, is better than what a choice "
    "made beforehand would give.",
    "Seconds are of the machine named under provenance, while other work ran beside.",
)


def write(rows: Iterable[Row], out: Path) -> Path:
    """Write OUT/index.html, whole or not at all; the same rows give the same bytes."""
    cast = Cast(Evidence.of(rows))
    path = out / "index.html"
    write_atomically(path, page(cast).encode())
    return path


def page(cast: Cast) -> str:
    """The page as text."""
    drawn = pictures(cast)
    parts = [(title, part(cast, drawn)) for title, part in PARTS]
    style = files("concilium.reports").joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", TITLE),
        element("style", Html(style + MORE_STYLE)),
    )
    contents = joined(element("a", title, href=f"#{_identifier(own)}") for title, own in parts)
    header = element(
        "header",
        paragraph("concilium · federated multi-label classification", class_="kicker"),
        element("h1", TITLE),
        paragraph(DISCLAIMER, class_="disclaimer"),
        element("nav", contents, aria_label="Contents"),
    )
    main = element("main", *(own for _, own in parts))
    footer = element("footer", paragraph("Made from result rows alone; needs no network."))
    body = element("body", header, main, footer)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _summary(cast: Cast, _: Sequence[Picture]) -> Html:
    evidence = cast.evidence
    sentences = _of_pooled(cast)
    for other in (SAME_HEAD, cast.baseline):
        found = comparisons.compared(evidence, cast.default, other)
        sentences.append(comparisons.said(found, cast.default, other))
        sentences += comparisons.in_sentences(found)
    sentences += [
        *answers.erases(evidence, cast.baseline, MOST_NAMED),
    ]
    return section("summary", "In short", items(sentences), items(tables.coverage(evidence)))


def _of_pooled(cast: Cast) -> list[str]:
    """What default and baseline keep of pooled training, over worlds."""
    said = []
    for key in SUMMARISED:
        texts = []
        for model in (cast.default, cast.baseline):
            means = answers.kept(cast.evidence, model, key)
            if means:
                middle = statistics.median(means.values())
                least = min(means, key=lambda world: means[world])
                texts.append(
                    f"{model.title} {answers.part_said(middle, ' %')} "
                    f"(least: {answers.part_said(means[least], ' %')} in {least})"
                )
        if texts:
            what = SHOWN[key].title
            said.append(f"Of pooled {what}, median world: {'; '.join(texts)}.")
    return said


def _regressions(cast: Cast, _: Sequence[Picture]) -> Html:
    parts: list[Html] = []
    for other in (SAME_HEAD, cast.baseline):
        sentences, made = tables.regressions(cast.evidence, cast.default, other)
        parts += [element("h3", f"{cast.default.title} against {other.title}"), items(sentences)]
        parts += map(as_html, made)
    return section("regressions", "What got better and what got worse", *parts)


def _erasure(cast: Cast, drawn: Sequence[Picture]) -> Html:
    models = (cast.baseline, Model(cast.default.method, "none"), cast.default)
    return section(
        "erasure",
        "What does FedAvg erase?",
        items(answers.erases(cast.evidence, cast.baseline)),
        as_html(answers.erased(cast.evidence, models)),
        *_figures(drawn, "sweep"),
        _folded_figures(drawn, "erasure", "Round by round"),
        *_sweep_tables(cast, *answers.OF_POOLED),
    )


def _restoration(cast: Cast, drawn: Sequence[Picture]) -> Html:
    return section(
        "restoration",
        "What brings it back?",
        as_html(answers.restored(cast.evidence)),
        _folded_figures(drawn, "restoration", "Every method relative to pooled training"),
    )


def _decoupling(cast: Cast, drawn: Sequence[Picture]) -> Html:
    made = [coupling_tables.decoupled(cast.evidence, world) for world in cast.evidence.worlds]
    return section(
        "decoupling",
        "What decouples findings?",
        as_html(coupling_tables.cheapest(cast.evidence)),
        _folded_figures(drawn, "decoupling", "False coupling against AUROC"),
        *(as_html(table) for table in made if table.rows),
        *_sweep_tables(cast, "false_coupling"),
    )


def _multi_label(cast: Cast, drawn: Sequence[Picture]) -> Html:
    return section(
        "multi-label",
        "What does multi-label buy over the most obvious finding?",
        as_html(answers.multi_label(cast.evidence, (cast.baseline, cast.default))),
        *_figures(drawn, "learning"),
        *_of_labels(cast),
        *_sweep_tables(cast, "auroc", "missed_second"),
    )


def _of_labels(cast: Cast) -> list[Html]:
    return [
        as_html(table)
        for sweep in sweeps_of(cast.evidence)
        for table in labels_needed.tables(cast.evidence, sweep)
    ]


def _gains(cast: Cast, drawn: Sequence[Picture]) -> Html:
    return section(
        "gains",
        "What does each hospital gain?",
        as_html(answers.gained(cast.evidence, (cast.baseline, cast.default))),
        _folded_figures(drawn, "gains", "Hospital by hospital"),
    )


def _ranks(cast: Cast, drawn: Sequence[Picture]) -> Html:
    made = tables.rankings(cast.evidence, cast.default)
    return section(
        "ranks", "Wins and ranks", *_figures(drawn, "ranks"), *(as_html(table) for table in made)
    )


def _worlds(cast: Cast, _: Sequence[Picture]) -> Html:
    parts = []
    for world in cast.evidence.worlds:
        parts.append(element("h3", f"{cast.evidence.title(world)} ({world})"))
        parts += [as_html(table) for table in tables.of_world(cast.evidence, world, lines="")]
    return section("worlds", "World by world", *parts)


def _limits(_: Cast, __: Sequence[Picture]) -> Html:
    return section("limits", "What this page does not say", items(LIMITS))


def _provenance(cast: Cast, _: Sequence[Picture]) -> Html:
    evidence = cast.evidence
    kinds = {json.dumps(row.environment, sort_keys=True): row.environment for row in evidence.rows}
    parts = [
        paragraph(
            "Each row can be trained again by its command, which compares the digest of the model. "
            "Settings were chosen on validation patients, as many for every method."
        ),
        *(_environment(kinds[key]) for key in sorted(kinds)),
    ]
    for world in evidence.worlds:
        made = as_html(world_tables.lines(evidence, world, folded=True))
        parts.append(element("div", made, id=world_tables.anchor(world)))
    return section("provenance", "Provenance: how to have any row again", *parts)


def _environment(values: dict[str, object]) -> Html:
    return element(
        "dl",
        *(
            part
            for key, value in sorted(values.items())
            for part in (element("dt", key), element("dd", str(value)))
        ),
    )


def _figures(drawn: Sequence[Picture], question: str) -> list[Html]:
    return [figure(own.svg, own.caption) for own in drawn if own.question == question]


def _folded_figures(drawn: Sequence[Picture], question: str, title: str) -> Html:
    """The figures of all worlds; the first is open, the others unfold one by one."""
    own = [picture for picture in drawn if picture.question == question]
    if not own:
        return Html()
    first = figure(own[0].svg, own[0].caption)
    others = [folded(p.world, figure(p.svg, p.caption)) for p in own[1:]]
    return joined([element("h3", title), first, *others])


def _sweep_tables(cast: Cast, *keys: str) -> list[Html]:
    made = [
        table
        for sweep in sweeps_of(cast.evidence)
        for table in tables.swept(cast.evidence, sweep, keys)
    ]
    return [as_html(table) for table in made if table.rows]


def _identifier(own: Html) -> str:
    return own.split('id="', 1)[1].split('"', 1)[0]


PARTS: tuple[tuple[str, Callable[[Cast, Sequence[Picture]], Html]], ...] = (
    ("In short", _summary),
    ("Better and worse", _regressions),
    ("Erasure", _erasure),
    ("Bringing it back", _restoration),
    ("Decoupling", _decoupling),
    ("Multi-label", _multi_label),
    ("Hospitals", _gains),
    ("Ranks", _ranks),
    ("Worlds", _worlds),
    ("Limits", _limits),
    ("Provenance", _provenance),
)
