"""``concilium compare``: the methods of one or several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.studies.columns import Column
    from concilium.studies.comparison import Difference, Row


@dataclass(frozen=True)
class Gathered:
    """Results of all runs with their methods in order, rare labels, and over what means go."""

    results: tuple[dict[str, Any], ...]
    rare: tuple[str, ...]
    order: tuple[str, ...]
    coverage: tuple[str, ...]


def command(
    runs: Annotated[list[Path], typer.Argument(help="One or several run folders.")],
    to: Annotated[
        str, typer.Option(help="Also differences to this method, paired by seed and fold.")
    ] = "",
    metrics: Annotated[
        str, typer.Option(help="Also these metrics, separated by commas (`concilium list`).")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="Also every metric there is.")] = False,
) -> None:
    """Compare all methods of one or several runs: mean ± spread over seeds and folds.

    Methods of several runs are named RUN/METHOD. Runs of other data or other splits cannot be
    compared: their numbers stand side by side, their differences mean nothing, and that is said.

    Example: `concilium compare runs/nih_radiographs --to fedavg --metrics brier,sensitivity`
    """
    from rich.console import Console

    from concilium.cli.tables import print_methods
    from concilium.studies.columns import SHORT
    from concilium.studies.comparison import MIN_PAIRS, summarise

    console = Console()
    chosen = _chosen(metrics, every)
    found = _gathered(runs)
    rows = summarise(found.results, found.rare, found.order)
    keys = (*SHORT, "worst_hospital", "decoupled_auroc", "decoupled_map")
    print_methods(console, rows, keys)
    if chosen:
        _print_metrics(console, rows, chosen)
    for note in found.coverage:
        console.print(note, style="dim", markup=False, highlight=False)
    if not _same_ground(runs):
        console.print(
            "[yellow]These runs have other data or other splits: differences mean little."
        )
    if to:
        title = f"\nDifference to {to}, mean over pairs of equal seed and fold"
        _print_differences(console, found, to, keys, title)
        if chosen:
            _print_differences(console, found, to, chosen, f"\nThe same of metrics, to {to}")
        meaning = f"[low to high]: 95 % t interval over the pairs, from {MIN_PAIRS} pairs on"
        console.print(meaning, style="dim", markup=False, highlight=False)


def _chosen(metrics: str, every: bool) -> list[str]:
    """Keys of the columns of metrics. Raises ComponentError for a metric that does not exist."""
    from concilium.foundation import components
    from concilium.studies.columns import METRIC

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names:
        components.find("metrics", name)
    return [METRIC + name for name in (components.names("metrics") if every else names)]


def _gathered(runs: Sequence[Path]) -> Gathered:
    """Results of all runs; methods of several runs carry their run's name."""
    from concilium.studies.coverage import hospital_note, label_note
    from concilium.studies.run import check_has_results, jobs_of, read_results, study_of

    results: list[dict[str, Any]] = []
    rare: dict[str, None] = {}
    order: list[str] = []
    coverage: dict[str, list[str]] = {}
    for run, name in zip(runs, _names(runs), strict=True):
        check_has_results(run)
        study = study_of(run)
        rare |= dict.fromkeys(study.evaluation.rare_labels)
        prefix = f"{name}/" if len(runs) > 1 else ""
        order += [prefix + method for method in study.methods]
        found = read_results(run, jobs_of(study))
        results += [{**own, "method": prefix + own["method"]} for own in found]
        for note in (label_note(found, study.evaluation.min_positives), hospital_note(found)):
            coverage.setdefault(note, []).append(name)
    notes = [
        note if len(names) == len(runs) else f"{', '.join(names)}: {note}"
        for note, names in coverage.items()
    ]
    return Gathered(tuple(results), tuple(rare), tuple(order), tuple(notes))


def _names(runs: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as tell them apart. Raises InputError for a double."""
    from concilium.foundation.errors import InputError

    paths = [run.resolve() for run in runs]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise InputError("the same run folder is given twice: give each once")


def _same_ground(runs: Sequence[Path]) -> bool:
    """Whether all runs have the same data and the same split."""
    from concilium.studies.run import study_of

    studies = [study_of(run) for run in runs]
    return all((s.data, s.split) == (studies[0].data, studies[0].split) for s in studies)


def _print_metrics(console: Console, rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Means over labels: a line for each metric, a column for each method."""
    from concilium.cli.tables import print_table
    from concilium.studies.comparison import FINAL, used_columns

    final = [row for row in rows if row.stage == FINAL]
    used = used_columns(final, keys)
    cells = [
        [_titled(column), *(row.measured[column.key].text(column.form) for row in final)]
        for column in used
    ]
    titles = ["metric", *(row.method for row in final)]
    print_table(console, titles, cells, "\nMetrics, mean over labels with enough positives")
    missing = [key.partition(".")[2] for key in keys if key not in {c.key for c in used}]
    if missing:
        said = f"no value in these runs: {', '.join(missing)}; `concilium evaluate` measures anew"
        console.print(said, style="dim", markup=False, highlight=False)


def _print_differences(
    console: Console, found: Gathered, reference: str, keys: Sequence[str], title: str
) -> None:
    """A line for each number that has a difference, a column for each method."""
    from concilium.cli.tables import print_table
    from concilium.studies.columns import columns
    from concilium.studies.comparison import difference

    done = {result["method"] for result in found.results}
    methods = [name for name in found.order if name in done and name != reference]
    every, cells = columns(), []
    for key in keys:
        gaps = [difference(found.results, m, reference, key, found.rare) for m in methods]
        if any(gap.num_pairs for gap in gaps):
            cells.append([_titled(every[key]), *(_text(gap, every[key].form) for gap in gaps)])
    print_table(console, ["", *methods], cells, title)


def _titled(column: Column) -> str:
    return f"{'↑' if column.better == 'higher' else '↓'} {column.title}"


def _text(gap: Difference, form: str) -> str:
    return f"{gap.mean:+{form}} [{gap.interval_text(f'+{form}')}]" if gap.num_pairs else "–"
