"""One picture of a run for a front page: hospitals, the sums that leave them, what came out.

Images are shown, so the data must be synthetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concilium.foundation.errors import DataError, Problem
from concilium.foundation.files import write_atomically
from concilium.reports.charts import (
    INK,
    LINE,
    MAIN,
    MUTED,
    Series,
    series,
    shown,
    to_the_letter,
    vector,
)
from concilium.reports.evidence import Evidence, read_evidence
from concilium.reports.markup import number
from concilium.reports.sections.headline import final_rows
from concilium.studies import assembly, hospitals
from concilium.studies.columns import COLUMNS, defined
from concilium.studies.division import divide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 13.0, 5.6  # inches
MOST_HOSPITALS, IMAGES_EACH = 5, 2
SUMS = ("model updates", "label counts", "score histograms", "exact heads")


@dataclass(frozen=True)
class Hospital:
    """What the picture shows of one hospital: images (n, H, W) uint8 with their findings."""

    name: str
    num_images: int
    images: npt.NDArray[np.uint8]
    findings: tuple[str, ...]
    alone: tuple[str, ...]  # labels and combinations that only this hospital has seen


def write_overview(run: Path, path: Path, cache: Path) -> Path:
    """Write the picture of a run as SVG, whole or not at all; the same run gives the same bytes.

    Raises StudyError where the folder is not a finished run, DataError for data that are not
    synthetic: no picture of a patient leaves a run folder.
    """
    evidence = read_evidence(run)
    if not evidence.data["synthetic"]:
        remedy = "draw it from a run on the phantom, such as `concilium demo`"
        raise DataError(Problem(str(run), "its images show patients", remedy))
    hospitals = _hospitals(evidence, cache)
    write_atomically(path, overview(evidence, hospitals).encode())
    return path


def overview(evidence: Evidence, hospitals: Sequence[Hospital]) -> str:
    """The picture as SVG text."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
    left = _plain_axes(figure, (0.0, 0.0, 0.62, 1.0), (0.62 * WIDTH, HEIGHT))
    _heading(left, 0.3, f"{len(hospitals)} hospitals, their images stay")
    for place, own in enumerate(hospitals):
        _hospital(left, own, _height(place, len(hospitals)))
    _heading(left, 5.55, "Only sums leave")
    _server(left, len(hospitals))
    _outcome(figure, evidence)
    figure.text(0.993, 0.02, "synthetic images", ha="right", fontsize=8, color=MUTED)
    return vector(figure, "path", "overview")


def _hospitals(evidence: Evidence, cache: Path) -> list[Hospital]:
    study = evidence.study
    dataset = assembly.load_data(study, cache)
    division = divide(dataset, study, study.seeds[0])
    parts = hospitals.parts_of(dataset, division, assembly.policy_of(study))
    names = dataset.table.schema.names
    wanted = [(label,) for label in study.evaluation.rare_labels] + [*study.evaluation.label_sets]
    sets = [[names.index(label) for label in labels] for labels in wanted]
    has = {n: [_with(own["train"].target, s) for s in sets] for n, own in parts.items()}
    found = []
    for name in list(parts)[-MOST_HOSPITALS:]:
        exams = parts[name]["train"]
        alone = [
            place
            for place in range(len(sets))
            if has[name][place].any() and not any(has[n][place].any() for n in parts if n != name)
        ]
        rows = _examples(exams.target, [has[name][place] for place in alone])
        found.append(
            Hospital(
                name,
                sum(len(own) for own in parts[name].values()),
                np.asarray(exams.images[np.array(rows)]),
                tuple(_findings(exams.target[row], names) for row in rows),
                tuple(" + ".join(wanted[place]) for place in alone),
            )
        )
    return found


def _with(target: npt.NDArray[np.float32], labels: list[int]) -> npt.NDArray[np.bool_]:
    return np.asarray((target[:, labels] > 0.5).all(1))


def _examples(target: npt.NDArray[np.float32], alone: Sequence[npt.NDArray[np.bool_]]) -> list[int]:
    """Rows to show: one for each thing that only this hospital has, then some with two findings."""
    rows = [int(np.argmax(has)) for has in alone]
    count = (target > 0.5).sum(1)
    for wanted in (2, 1, 3, 0):
        rows += [int(row) for row in np.flatnonzero(count == wanted)]
    return list(dict.fromkeys(rows))[:IMAGES_EACH]


def _findings(target: npt.NDArray[np.float32], names: Sequence[str]) -> str:
    present = [names[i] for i in np.flatnonzero(target > 0.5).tolist()]
    return ", ".join(present) if present else "no finding"


def _plain_axes(
    figure: Figure, place: tuple[float, float, float, float], size: tuple[float, float]
) -> Axes:
    """Axes without anything, measured in inches."""
    axes = figure.add_axes(place)
    axes.set_xlim(0, size[0])
    axes.set_ylim(0, size[1])
    axes.axis("off")
    return axes


def _height(place: int, of: int) -> float:
    """Middle of a hospital's line, in inches above the lower edge."""
    return (HEIGHT - 0.75) * (1 - (place + 0.5) / of) + 0.1


def _heading(axes: Axes, left: float, text: str) -> None:
    axes.text(left, HEIGHT - 0.42, text, fontsize=13, fontweight="bold", color=INK)


def _hospital(axes: Axes, own: Hospital, height: float) -> None:
    side = 0.84
    for place, image in enumerate(own.images):
        left = 0.3 + place * (side + 0.06)
        extent = (left, left + side, height - side / 2, height + side / 2)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none")
    axes.set_aspect("auto")
    axes.set_xlim(0, 0.62 * WIDTH)
    axes.set_ylim(0, HEIGHT)
    color = MAIN if own.alone else INK
    lines = [(own.name, 10.5, "bold", color), (f"{own.num_images:,} images", 8.5, "normal", MUTED)]
    lines += [(to_the_letter(text), 8.5, "normal", INK) for text in own.findings]
    if own.alone:
        lines[1] = (f"alone has seen {' and '.join(own.alone)}", 8.5, "bold", color)
    top = height + 0.19 * (len(lines) - 1) / 2
    for place, (text, size, weight, ink) in enumerate(lines):
        axes.text(
            2.2, top - 0.19 * place, text, fontsize=size, fontweight=weight, color=ink, va="center"
        )


def _server(axes: Axes, num_hospitals: int) -> None:
    """Lines from every hospital to the sum."""
    from matplotlib.patches import Circle

    centre, radius = (7.05, (HEIGHT - 0.75) / 2 + 0.1), 0.42
    for place in range(num_hospitals):
        start = (5.55, _height(place, num_hospitals))
        axes.annotate(
            "",
            centre,
            start,
            arrowprops={
                "arrowstyle": "-|>",
                "color": MUTED,
                "linewidth": 1.1,
                "shrinkB": 34,
            },
        )
    axes.add_patch(Circle(centre, radius, facecolor="white", edgecolor=INK, linewidth=1.6))
    axes.text(*centre, "Σ", fontsize=24, ha="center", va="center", color=INK)
    for place, text in enumerate(SUMS):
        height = centre[1] - 0.95 - 0.2 * place
        axes.text(centre[0], height, text, fontsize=8.5, ha="center", color=MUTED)


def _outcome(figure: Figure, evidence: Evidence) -> None:
    """Bars of each method in the numbers that rare findings decide."""
    rows, drawn = final_rows(evidence), series(evidence)
    rare = ", ".join(evidence.study.evaluation.rare_labels)
    sets = "; ".join(" + ".join(names) for names in evidence.study.evaluation.label_sets)
    titles = {"map": "mean average precision", "rare_ap": f"average precision: {rare}"}
    titles["set_recall"] = f"both found: {sets}"
    keys = [k for k in titles if any(row.measured[k].num_defined for row in rows.values())]
    figure.text(
        0.715, 1 - 0.42 / HEIGHT, "What comes out", fontsize=13, fontweight="bold", color=INK
    )
    share = 0.86 / len(keys)
    for place, key in enumerate(keys):
        axes = figure.add_axes((0.715, 0.05 + share * (len(keys) - 1 - place), 0.25, share - 0.075))
        values = {name: row.measured[key].mean for name, row in rows.items()}
        _bars(axes, titles[key], values, drawn, COLUMNS[key].form)


def _bars(
    axes: Axes, title: str, values: dict[str, float], drawn: dict[str, Series], form: str
) -> None:
    most = max(defined(values.values()), default=1.0) or 1.0
    for place, (name, value) in enumerate(values.items()):
        wide = 0.0 if math.isnan(value) else value
        strong = "bold" if drawn[name].color == MAIN else "normal"
        axes.barh(place, wide, color=drawn[name].color, height=0.68)
        axes.text(
            wide + 0.02 * most, place, number(value, form), va="center", fontsize=8.5, color=INK,
            fontweight=strong,
        )  # fmt: skip
    axes.set_yticks(range(len(values)), [shown(name) for name in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(0, 1.18 * most)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(LINE)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8.5, length=0)
    axes.set_title(to_the_letter(title), loc="left", fontsize=9.5, color=INK)
