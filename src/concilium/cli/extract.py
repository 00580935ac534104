"""``concilium extract``: a frozen backbone's features, once a hospital."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

PRETRAINED = "efficientnet_lite0"  # brings its weights with it
WHY = (
    "Only exact heads: on frozen features sums solve them, without a round of training. "
    "Other methods train in rounds: to add one, set training.rounds and add [methods.NAME]."
)


def command(
    study: Annotated[Path, typer.Argument(help="The study file (TOML).")],
    out: Annotated[Path, typer.Option(help="Folder for the features: one .npz a hospital.")],
) -> None:
    """Write the features of a study's network, frozen, once for every hospital.

    A hospital without a GPU then joins a federation by sums alone, without a gradient step. The
    files hold features, labels, parts and numbered patients, never an identifier; beside them a
    study file that trains on them.

    Example: `concilium extract studies/nih_pretrained.toml --out features`
    """
    import numpy as np
    from rich.console import Console

    from concilium.cli.places import cache_folder
    from concilium.cli.studies import checked_study
    from concilium.cli.tables import print_table
    from concilium.studies.feature_files import check_empty, extract, write_features

    console = Console()
    own = checked_study(study, ("data", "split", "network"))
    check_empty(out)
    architecture = own.network.architecture.name
    if not own.network.weights and architecture != PRETRAINED:
        console.print(
            f"network.weights is not set: {architecture} is untrained, and its features "
            "are random projections of the images.",
            style="yellow",
            markup=False,
        )
    with console.status(f"Applying {architecture} to every image"):
        files = extract(own, cache_folder())
        written = write_features(out, files, own)
    rows = [
        [
            file.file,
            f"{len(file.arrays['features']):,}",
            f"{len(np.unique(file.arrays['patient'])):,}" if "patient" in file.arrays else "–",
            f"{file.arrays['features'].shape[1]:,}",
            f"{(out / file.file).stat().st_size / 1e6:.1f}",
        ]
        for file in files
    ]
    print_table(console, ["file", "images", "patients", "features", "MB"], rows)
    _print_methods(console, written)
    console.print(
        f"Train on them: concilium run {written}", soft_wrap=True, markup=False, highlight=False
    )


def _print_methods(console: Console, written: Path) -> None:
    """The methods of the study that was written, and why they are these."""
    from concilium.cli.meanings import METHODS
    from concilium.studies.reading import read_study

    console.print(f"\n{written} has these methods:", soft_wrap=True, markup=False, highlight=False)
    for name in read_study(written).methods:
        console.print(f"  {name}: {METHODS[name]}", highlight=False)
    console.print(WHY, style="dim", markup=False, highlight=False)
