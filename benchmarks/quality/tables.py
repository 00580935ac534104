"""``results.md`` and ``lines.md``: every table of the benchmark, made from result rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import answers
import comparisons
import coupling_tables
import labels_needed
import rank_tables
import world_tables
from comparisons import BASELINE, DEFAULT, SAME_HEAD
from evidence import Evidence, Model
from rows import Row
from sweeps import Sweep, sweeps_of
from table_forms import Table, as_markdown

from concilium.foundation.files import write_atomically

MOST_NAMED = 12  # models whose missing seeds are named one by one above the tables


def write(rows: Iterable[Row], out: Path) -> Path:
    """Write OUT/results.md and OUT/lines.md; the order of rows changes nothing."""
    evidence = Evidence.of(rows)
    path = out / "results.md"
    text = document(evidence)
    write_atomically(path, text.encode())
    write_atomically(out / world_tables.LINES, lines(evidence).encode())
    return path


def document(evidence: Evidence, default: Model = DEFAULT, baseline: Model = BASELINE) -> str:
    """The text of results.md."""
    parts = ["# Results of the quality benchmark\n", _items(coverage(evidence))]
    for other in (SAME_HEAD, baseline):
        sentences, better_and_worse = regressions(evidence, default, other)
        parts += [f"## {default.title} against {other.title}\n", _items(sentences)]
        parts += _markdown(better_and_worse)
    parts += [
        "## The questions\n",
        _items(answers.erases(evidence, baseline)),
        *_markdown(questions(evidence, default, baseline)),
        "## Sweeps\n",
        *_markdown(sweeps(evidence)),
        "## Ranks\n",
        *_markdown(rankings(evidence, default)),
    ]
    for world in evidence.worlds:
        parts += [f"## {evidence.title(world)} (`{world}`)\n"]
        parts += _markdown(of_world(evidence, world))
    return "\n".join(parts)


def lines(evidence: Evidence) -> str:
    """The text of lines.md: what to run to have any row again."""
    parts = ["# Lines\n\nEvery row of every table, and the command that makes it again.\n"]
    for world in evidence.worlds:
        parts.append(f'<a id="{world_tables.anchor(world)}"></a>\n')
        parts.append(as_markdown(world_tables.lines(evidence, world), 2))
    return "\n".join(parts)


def coverage(evidence: Evidence) -> list[str]:
    """What was run, and what is missing, in sentences."""
    seeds = [len(evidence.seeds(world)) for world in evidence.worlds]
    if not seeds:
        return ["There are no rows."]
    found = [
        f"{len(evidence.rows)} rows: {len(evidence.worlds)} worlds, "
        f"{len({row.method for row in evidence.rows})} methods, {_between(seeds)} seeds a world."
    ]
    gaps = evidence.gaps()
    for gap in gaps[:MOST_NAMED]:
        missing, diverged = (" ".join(map(str, own)) for own in (gap.missing, gap.diverged))
        said = f"{gap.world}, {gap.model.title}:"
        said += f" no row for seed {missing}." if missing else ""
        found.append(said + (f" Training diverged at seed {diverged}." if diverged else ""))
    if len(gaps) > MOST_NAMED:
        rest = len(gaps) - MOST_NAMED
        found.append(f"{rest} more models lack seeds: see the seeds column of their tables.")
    return found


def regressions(
    evidence: Evidence, default: Model, baseline: Model
) -> tuple[list[str], tuple[Table, ...]]:
    """Sentences, then better and worse: in means over labels, and label by label."""
    found = comparisons.compared(evidence, default, baseline)
    labels = comparisons.compared_labels(evidence, default, baseline)
    sentences = [comparisons.said(found, default, baseline), *comparisons.in_sentences(found)]
    made = (
        comparisons.at_a_glance(found, default, baseline),
        *comparisons.tables(found, default, baseline),
        *comparisons.tables(labels, default, baseline, "AP of"),
    )
    return sentences, made


def questions(evidence: Evidence, default: Model, baseline: Model) -> tuple[Table, ...]:
    """The questions of the founding text."""
    both = (baseline, default)
    return (
        answers.erased(evidence, both),
        answers.restored(evidence),
        coupling_tables.cheapest(evidence),
        *(coupling_tables.decoupled(evidence, world) for world in evidence.worlds),
        answers.multi_label(evidence, both),
        answers.gained(evidence, both),
    )


def sweeps(evidence: Evidence) -> list[Table]:
    """Every sweep in every number that it can move."""
    return [
        table
        for sweep in sweeps_of(evidence)
        for table in (
            *labels_needed.tables(evidence, sweep),
            *swept(evidence, sweep, answers.SWEPT),
        )
    ]


def swept(evidence: Evidence, sweep: Sweep, keys: Iterable[str]) -> list[Table]:
    """Numbers by severity, and relative to pooled training where that is asked."""
    return [
        answers.swept(evidence, sweep, key, of_pooled)
        for key in keys
        for of_pooled in ((False, True) if key in answers.OF_POOLED else (False,))
    ]


def rankings(evidence: Evidence, default: Model) -> list[Table]:
    """Wins and ranks."""
    found = [rank_tables.wins(evidence, default)]
    for head in rank_tables.RANKED_HEADS:
        own = rank_tables.ranked(evidence, head)
        if own is not None:
            found.append(rank_tables.ranks_table(own, "map", head))
    return found


def of_world(
    evidence: Evidence, world: str, lines: str = world_tables.LINES
) -> tuple[Table, Table]:
    """The tables of one world."""
    return (
        world_tables.compact(evidence, world, lines),
        world_tables.full(evidence, world, lines),
    )


def _between(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _items(sentences: Sequence[str]) -> str:
    return "".join(f"- {sentence}\n" for sentence in sentences)


def _markdown(tables: Sequence[Table]) -> list[str]:
    return [as_markdown(table) for table in tables if table.rows or not table.folded]
