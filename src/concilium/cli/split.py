"""``concilium split``: who holds what, before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from concilium.data.dataset import Dataset
    from concilium.data.shifts import HospitalShifts
    from concilium.studies.division import Division

HOSPITALS_ABREAST = 6
MOST_SHIFTED = 2


def command(
    study: Annotated[Path, typer.Argument(help="The study file (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the splits; default splits/NAME.")
    ] = None,
) -> None:
    """Divide the data of a study among hospitals and parts, for every seed and fold, and save it.

    Shows who holds which label and how hospitals differ at the first seed, and of every seed the
    proof that no patient is in two parts. `concilium run` makes the same divisions.

    Example: `concilium split studies/nih_radiographs.toml`
    """
    from rich.console import Console

    from concilium.cli.places import cache_folder
    from concilium.cli.studies import checked_study
    from concilium.data.shifts import describe_shifts
    from concilium.studies import assembly
    from concilium.studies.division import divide, said_of_split, save_division
    from concilium.studies.label_checks import check_labels
    from concilium.studies.run import division_folder, one_each_division

    own = checked_study(study, ("data", "split"))
    dataset = assembly.load_data(own, cache_folder())
    check_labels(dataset, own, assembly.policy_of(own))
    divisions = {job: divide(dataset, own, job.seed, job.fold) for job in one_each_division(own)}
    folder = out or Path("splits") / study.stem
    console = Console()
    console.print(f"{dataset.title}: {len(dataset.table):,} images", markup=False, highlight=False)
    for i, (job, division) in enumerate(divisions.items()):
        console.print(f"\n[bold]Seed {job.seed}, fold {job.fold}")
        if i == 0:
            _print_counts(console, dataset, division)
            _print_shifts(console, describe_shifts(dataset.table, division.partition))
        _print_proof(console, division, dataset)
        for line in said_of_split(division.statement):
            console.print(line, markup=False, highlight=False)
    for job, division in divisions.items():
        save_division(division_folder(folder, job), dataset, division)
    console.print(f"\nWritten: {folder}", soft_wrap=True, markup=False)


def _print_counts(console: Console, dataset: Dataset, division: Division) -> None:
    """What each hospital has in training / validation / test; some hospitals abreast."""
    from concilium.cli.tables import print_table

    names = division.partition.clients
    for first in range(0, len(names), HOSPITALS_ABREAST):
        clients = range(first, min(first + HOSPITALS_ABREAST, len(names)))
        counted = [_counts(dataset, division, k) for k in clients]
        labels = ("images", "patients", *dataset.table.schema.names)
        rows = [[label, *cells] for label, *cells in zip(labels, *counted, strict=True)]
        title = "Images, patients, positives of each label: training / validation / test"
        print_table(console, ["label", *(names[k] for k in clients)], rows, title)
    console.print("[dim]–: the hospital does not annotate the label in training and validation")


def _counts(dataset: Dataset, division: Division, client: int) -> list[str]:
    """A column: images, patients and positives of each label, "training / validation / test"."""
    import numpy as np

    from concilium.labels.states import State

    table = dataset.table
    rows = [division.rows(client, part) for part in division.parts]
    positives = np.stack([(table.states[r] == State.PRESENT).sum(0) for r in rows])  # (parts, L)
    cells = [
        _slashed([len(r) for r in rows]),
        _slashed([len(np.unique(table.patient[r])) for r in rows]),
    ]
    for label, heard in enumerate(division.partition.annotated[client].tolist()):
        own = positives[:, label].tolist()
        cells.append(_slashed(own) if heard else f"–/–/{own[-1]}")
    return cells


def _slashed(counts: Sequence[int]) -> str:
    return "/".join(map(str, counts))


def _print_shifts(console: Console, shifts: HospitalShifts) -> None:
    """How far every hospital is from all of them together."""
    from concilium.cli.tables import print_table

    rows = [
        [
            name,
            f"{shifts.images[k]:,}",
            f"{100 * shifts.share[k]:.0f} %",
            _defined(float(shifts.phi_distance[k])),
            _most_shifted(shifts, k),
        ]
        for k, name in enumerate(shifts.hospitals)
    ]
    titles = [
        "hospital",
        "images",
        "share",
        "phi distance",
        "prevalence most unlike (all hospitals)",
    ]
    print_table(console, titles, rows, "Shifts", text=(0, 4))


def _defined(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _most_shifted(shifts: HospitalShifts, client: int) -> str:
    """The labels whose prevalence differs most from that of all hospitals, in percent."""
    import numpy as np

    known, positives = shifts.known.sum(0), shifts.positives.sum(0)
    everywhere = positives / np.where(known == 0, np.nan, known)
    gap = np.abs(shifts.prevalence[client] - everywhere)
    order = [i for i in np.argsort(-np.nan_to_num(gap)).tolist() if gap[i] > 0][:MOST_SHIFTED]
    return ", ".join(
        f"{shifts.labels[i]} {100 * shifts.prevalence[client, i]:.1f} % "
        f"({100 * everywhere[i]:.1f} %)"
        for i in order
    )


def _print_proof(console: Console, division: Division, dataset: Dataset) -> None:
    """Images and patients of the parts, and how many patients any two parts share, if told."""
    from concilium.data.dataset import NO_PATIENTS, PATIENTS

    proof = division.proof
    parts = ", ".join(
        f"{part} {proof.images[part]:,} images of {proof.patients[part]:,} patients"
        for part in division.parts
    )
    console.print(f"{parts}.", highlight=False)
    shared = ", ".join(f"{pair} {count}" for pair, count in proof.shared_patients.items())
    if PATIENTS in dataset.notes:
        console.print(f"[yellow]{NO_PATIENTS.capitalize()}, so none can be shown to be apart.")
    else:
        console.print(f"Patients shared: {shared}.", highlight=False)
