"""``concilium inspect``: what is in a data set, and how a study would name it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.data.dataset import Dataset
    from concilium.studies.configuration import Choice
    from concilium.studies.overview import LabelOverview, Overview, PairOverview


def command(
    data: Annotated[
        Path, typer.Argument(help="A folder of images, a table, an .npz archive, or a study file.")
    ],
    vocabulary: Annotated[
        str, typer.Option(help="Labels: nih, chestmnist, chexpert, padchest or vindr.")
    ] = "",
) -> None:
    """Show what is in a data set: labels, how they go together, patients, covariates, problems.

    Ends with the lines by which a study file uses these data. No patient identifier is shown.

    Example: `concilium inspect my_hospital --vocabulary nih`
    """
    from rich.console import Console

    from concilium.studies.overview import overview

    dataset, source = _loaded(data, vocabulary)
    console = Console(highlight=False)
    found = overview(dataset)
    _print_head(console, found)
    _print_labels(console, found.labels)
    _print_pairs(console, "Strongest couplings", found.strongest)
    _print_pairs(console, "Rarest pairs", found.rarest)
    _print_lines(console, "Covariates", [f"{k}: {v}" for k, v in found.covariates.items()])
    _print_lines(console, "Notes", [f"{k}: {v}" for k, v in found.notes.items()])
    _print_lines(console, "Problems", list(found.problems), "yellow")
    if source is not None:
        _print_source(console, source, found.labels)


def _loaded(data: Path, vocabulary: str) -> tuple[Dataset, Choice | None]:
    """The data set, and the source that reads it unless a study file names it."""
    from concilium.cli.places import cache_folder
    from concilium.cli.studies import checked_study
    from concilium.studies import assembly
    from concilium.studies.recognition import recognise

    if data.suffix == ".toml":
        study = checked_study(data)
        network = study.network.model_copy(update={"frozen": False})
        raw = study.model_copy(update={"network": network})
        return assembly.load_data(raw, cache_folder()), None
    source = recognise(data.absolute(), vocabulary)
    return assembly.make("sources", source).load(cache_folder()), source


def _print_head(console: Console, found: Overview) -> None:
    from rich.markup import escape

    console.print(f"[bold]{escape(found.title)}")
    if found.synthetic:
        console.print("[bold yellow]Synthetic images")
    size = " x ".join(map(str, found.input_shape[-2:]))
    what = f"{size} pixels" if len(found.input_shape) > 1 else f"{size} features"
    console.print(f"{found.images:,} images of {found.patients:,} patients, {what}")


def _print_labels(console: Console, labels: Sequence[LabelOverview]) -> None:
    from concilium.cli.tables import print_table

    titles = ["label", "present", "absent", "uncertain", "unknown", "prevalence", "group"]
    rows = [
        [
            own.name,
            *(f"{count:,}" for count in (own.present, own.absent, own.uncertain, own.unknown)),
            "–" if math.isnan(own.prevalence) else f"{100 * own.prevalence:.2f} %",
            own.group or "–",
        ]
        for own in labels
    ]
    print_table(console, titles, rows, "\nLabels")
    console.print("[dim]prevalence: present among present and absent; head > 10 %, tail ≤ 1 %")


def _print_pairs(console: Console, title: str, pairs: Sequence[PairOverview]) -> None:
    from concilium.cli.tables import print_table

    rows = [
        [
            f"{own.first} + {own.second}",
            f"{own.together:,}",
            f"{own.expected:,.1f}",
            "–" if math.isnan(own.phi) else f"{own.phi:+.2f}",
        ]
        for own in pairs
    ]
    titles = ["pair", "together", "if independent", "phi"]
    if rows:
        print_table(console, titles, rows, f"\n{title}")


def _print_lines(console: Console, title: str, lines: Sequence[str], style: str = "") -> None:
    from rich.markup import escape

    if lines:
        console.print(f"\n[bold]{title}")
    for line in lines:
        console.print(f"  {escape(line)}", style=style)


def _print_source(console: Console, source: Choice, labels: Sequence[LabelOverview]) -> None:
    """The lines of a study file; labels without positives are left out there."""
    from concilium.studies.recognition import as_toml

    kept = [own.name for own in labels if own.present]
    console.print("\n[bold]In a study file")
    lines = as_toml(source, kept if len(kept) < len(labels) else ())
    console.print(lines, markup=False, soft_wrap=True)
