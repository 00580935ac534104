"""``concilium inspect``: what is in a data set, and how a study would name it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    labels: Annotated[str, typer.Option(help="Labels by name, with commas between them.")] = "",
    table: Annotated[
        Path | None, typer.Option(help="The table of a folder that holds several.")
    ] = None,
    label_column: Annotated[
        str, typer.Option(help="The column of lists such as Effusion|Mass.")
    ] = "",
    patient_column: Annotated[str, typer.Option(help="The column of the patients.")] = "",
    one_per_image: Annotated[
        bool, typer.Option("--one-per-image", help='As patients = "one_per_image".')
    ] = False,
    hospital_column: Annotated[str, typer.Option(help="The column of the hospitals.")] = "",
) -> None:
    """Show what is in a data set: labels, how they go together, patients, covariates, problems.

    Ends with the lines by which a study file uses these data. No patient identifier is shown.

    Example: `concilium inspect my_hospital --vocabulary nih`
    """
    from rich.console import Console

    from concilium.studies.overview import overview

    given = {
        "vocabulary": vocabulary,
        "labels": [name.strip() for name in labels.split(",") if name.strip()],
        "table": "" if table is None else _table(data, table),
        "label_column": label_column,
        "patient_column": patient_column,
        "patients": "one_per_image" if one_per_image else "",
        "covariates": {"hospital": hospital_column} if hospital_column else {},
    }
    dataset, source = _loaded(data, {name: value for name, value in given.items() if value})
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


def _table(folder: Path, table: Path) -> str:
    """A table as it lies below the folder, or as a shell completes it: from here."""
    return str(table if (folder / table).is_file() or not table.is_file() else table.absolute())


def _loaded(data: Path, given: dict[str, Any]) -> tuple[Dataset, Choice | None]:
    """The data set, and the source that reads it unless a study file names it."""
    from concilium.cli.places import cache_folder
    from concilium.cli.studies import checked_study
    from concilium.foundation.errors import InputError, Problem
    from concilium.studies import assembly
    from concilium.studies.recognition import recognise

    if data.suffix == ".toml":
        if given:
            what = f"a study file names its own {', '.join(given)}"
            raise InputError(Problem(str(data), what, "leave the options out, or edit the study"))
        study = checked_study(data)
        network = study.network.model_copy(update={"frozen": False})
        raw = study.model_copy(update={"network": network})
        return assembly.load_data(raw, cache_folder()), None
    source = recognise(data.absolute(), given)
    return assembly.make("sources", source).load(cache_folder()), source


def _print_head(console: Console, found: Overview) -> None:
    from rich.markup import escape

    from concilium.data.dataset import NO_PATIENTS, PATIENTS

    console.print(f"[bold]{escape(found.title)}")
    if found.synthetic:
        console.print("[bold yellow]Synthetic images")
    size = " x ".join(map(str, found.input_shape[-2:]))
    what = f"{size} pixels" if len(found.input_shape) > 1 else f"{size} features"
    if PATIENTS in found.notes:
        console.print(f"{found.images:,} images, {what}; [yellow]{NO_PATIENTS}")
    else:
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
