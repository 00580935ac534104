"""Three hospitals with folders of synthetic radiographs, and the study that they share."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from concilium.data.dataset import Dataset
from concilium.sources.phantom import Phantom

PIXELS = 48


@dataclass(frozen=True)
class Plan:
    """A trial: its study, its hospitals, what they say of where their exams are, and the exams.

    ``furnish`` writes the exams of all hospitals into their folders, by name.
    """

    study: str
    names: tuple[str, ...]
    source: str
    furnish: Callable[[Mapping[str, Path]], None]


def three_hospitals() -> Plan:
    """The trial of ``make federation``."""
    source = (
        f'{{name = "image_folder", folder = "images", table = "labels.csv", image_size = {PIXELS}}}'
    )
    text = (files("concilium.cli.federation") / "trial.toml").read_text(encoding="utf-8")
    return Plan(text, ("east", "north", "south"), source, draw)


def draw(folders: Mapping[str, Path], num_exams: int = 1500) -> None:
    """Draw phantoms, each hospital's with its own look, as PNG files with a table."""
    data = Phantom(
        num_exams=num_exams, image_size=PIXELS, num_hospitals=len(folders), enrichment=0.5
    ).load(Path())
    hospital = data.table.covariates["hospital"]
    for index, folder in enumerate(folders.values()):
        _write(folder, data, np.flatnonzero(hospital == f"hospital {index + 1}"))


def _write(folder: Path, data: Dataset, rows: np.typing.NDArray[np.intp]) -> None:
    images, table = folder / "images", data.table
    images.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "patient", "sex", "view", *table.schema.names])
        for number, row in enumerate(rows):
            name = f"{number:05d}.png"
            Image.fromarray(data.images[row]).save(images / name)
            about = [table.covariates[key][row] for key in ("sex", "view")]
            states = [int(state) for state in table.states[row]]
            writer.writerow([name, f"P{table.patient[row]}", *about, *states])
