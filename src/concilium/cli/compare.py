"""``concilium compare``: the methods of one or several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.studies.comparison import Difference

DIFFERENCES = ("auroc", "map", "tail_ap", "rare_ap", "set_recall")


def command(
    runs: Annotated[list[Path], typer.Argument(help="One or several run folders.")],
    to: Annotated[
        str, typer.Option(help="Also differences to this method, paired by seed and fold.")
    ] = "",
) -> None:
    """Compare all methods of one or several runs: mean ± spread over seeds and folds.

    Methods of several runs are named RUN/METHOD. Runs of other data or other splits cannot be
    compared: their numbers stand side by side, their differences mean nothing, and that is said.

    Example: `concilium compare runs/nih_radiographs --to fedavg`
    """
    from rich.console import Console

    from concilium.cli.tables import print_methods
    from concilium.studies.comparison import summarise

    console = Console()
    results, rare, order = _gathered(runs)
    print_methods(console, summarise(results, rare, order))
    if not _same_ground(runs):
        console.print(
            "[yellow]These runs have other data or other splits: differences mean little."
        )
    if to:
        _print_differences(console, results, to, rare, order)


def _gathered(runs: Sequence[Path]) -> tuple[list[dict[str, Any]], tuple[str, ...], list[str]]:
    """Results, rare labels and methods in order; methods of several runs carry their run's name."""
    from concilium.studies.run import check_has_results, jobs_of, read_results, study_of

    results: list[dict[str, Any]] = []
    rare: dict[str, None] = {}
    order: list[str] = []
    names = _names(runs)
    for run, name in zip(runs, names, strict=True):
        check_has_results(run)
        study = study_of(run)
        rare |= dict.fromkeys(study.evaluation.rare_labels)
        prefix = f"{name}/" if len(runs) > 1 else ""
        order += [prefix + method for method in study.methods]
        found = read_results(run, jobs_of(study))
        results += [{**own, "method": prefix + own["method"]} for own in found]
    return results, tuple(rare), order


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


def _print_differences(
    console: Console,
    results: Sequence[dict[str, Any]],
    reference: str,
    rare: tuple[str, ...],
    order: Sequence[str],
) -> None:
    from concilium.cli.tables import print_table
    from concilium.studies.columns import COLUMNS
    from concilium.studies.comparison import difference

    done = {result["method"] for result in results}
    rows = []
    for method in order:
        if method in done and method != reference:
            gaps = [difference(results, method, reference, key, rare) for key in DIFFERENCES]
            rows.append([method, *map(_text, gaps)])
    print_table(
        console,
        ["method", *(COLUMNS[key].title for key in DIFFERENCES)],
        rows,
        f"\nDifference to {reference}, mean over pairs of equal seed and fold",
    )
    meaning = "[low, high]: 95 % t interval over the pairs, from two pairs on"
    console.print(meaning, style="dim", markup=False, highlight=False)


def _text(gap: Difference) -> str:
    if not gap.num_pairs:
        return "–"
    text = f"{gap.mean:+.3f}"
    return text if gap.num_pairs < 2 else f"{text} [{gap.low:+.3f}, {gap.high:+.3f}]"
