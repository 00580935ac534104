"""From exams to pixels: chest, findings, exposure, noise."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from concilium.sources._phantom.anatomy import Anatomy, Geometry, geometry, healthy
from concilium.sources._phantom.chest import draw_bones, draw_heart, draw_soft_tissue
from concilium.sources._phantom.cohort import Cohort
from concilium.sources._phantom.fields import Field, Grid, cover
from concilium.sources._phantom.findings import SHAPES, SIGNS, Case
from concilium.sources._phantom.textures import Textures, part, vessels

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """How hard the findings are to see: ``visibility`` of findings in [0, 1], ``variation`` of
    healthy anatomy, ``clutter`` in parts of a lung's air, ``noise`` in brightness (1 is white).
    """

    visibility: float
    variation: float
    clutter: float
    noise: float

    @staticmethod
    def of(difficulty: float) -> Look:
        """From plain (0) to hard (1), each setting in equal ratios.

        The ends are chosen so that findings are plain to the eye at 0, and that a small network
        trained on 3,000 exams at 0.5 is neither at chance nor perfect for most of them.
        """

        def between(plain: float, hard: float) -> float:
            return float(plain ** (1 - difficulty) * hard**difficulty)

        return Look(
            visibility=between(1.0, 0.45),
            variation=between(0.6, 1.4),
            clutter=between(0.02, 0.14),
            noise=between(0.008, 0.06),
        )


@dataclass(frozen=True)
class _Layers:
    """``dense``, ``lucent`` in [0, 1] and ``bright``, each (B, S, S); see ``findings.Signs``."""

    dense: Field
    lucent: Field
    bright: Field


def draw_exams(
    cohort: Cohort,
    names: tuple[str, ...],
    textures: Textures,
    grid: Grid,
    look: Look,
    rng: np.random.Generator,
) -> Images:
    """Images (B, S, S) of the exams; ``names`` are the findings in the order of their states."""
    strength = _strengths(cohort, look)
    shape = _reshaped(healthy(cohort, look.variation), cohort, names, strength)
    space = geometry(grid, shape)
    layers = _with_findings(cohort, names, strength, Case(grid, textures, shape, space, *_NONE))
    image = _compose(cohort, grid, textures, shape, space, layers, look)
    return _exposed(image, cohort, grid, look, rng)


_NONE = (np.zeros((0, 0, 1, 1), np.float32), np.zeros((0, 1, 1), np.float32))


def _strengths(cohort: Cohort, look: Look) -> Field:
    """How plainly each finding shows (B, L), 0 where it is absent."""
    severity = 0.5 + 0.5 * cohort.traits[:, :, 0]
    return np.asarray(cohort.states * severity * look.visibility, np.float32)


def _columns(values: npt.NDArray[np.float32]) -> Field:
    """(B, T) → (T, B, 1, 1)."""
    return values.T[:, :, None, None]


def _reshaped(shape: Anatomy, cohort: Cohort, names: tuple[str, ...], strength: Field) -> Anatomy:
    for name, reshape in SHAPES.items():
        label = names.index(name)
        shape = reshape(shape, _columns(cohort.traits[:, label]), strength[:, label, None, None])
    return shape


def _with_findings(
    cohort: Cohort, names: tuple[str, ...], strength: Field, everyone: Case
) -> _Layers:
    lung = everyone.geometry.lung
    layers = _Layers(*(np.zeros_like(lung) for _ in range(3)))
    for name, draw in SIGNS.items():
        label = names.index(name)
        rows = np.flatnonzero(cohort.states[:, label])
        if len(rows):
            signs = draw(_case(everyone, cohort, label, rows, strength))
            if signs.dense is not None:
                cover(layers.dense, rows, signs.dense)
            if signs.lucent is not None:
                cover(layers.lucent, rows, signs.lucent)
            if signs.bright is not None:
                layers.bright[rows] += signs.bright
    return layers


def _case(
    everyone: Case, cohort: Cohort, label: int, rows: npt.NDArray[np.intp], strength: Field
) -> Case:
    space = everyone.geometry
    return Case(
        everyone.grid,
        everyone.textures,
        everyone.shape.take(rows),
        Geometry(*(getattr(space, field.name)[rows] for field in fields(space))),
        _columns(cohort.traits[rows, label]),
        strength[rows, label, None, None],
    )


def _compose(
    cohort: Cohort,
    grid: Grid,
    textures: Textures,
    shape: Anatomy,
    space: Geometry,
    layers: _Layers,
    look: Look,
) -> Field:
    """Brightness (B, S, S): soft tissue, less the air, plus vessels, bones and what lies on top."""
    heart = draw_heart(grid, shape, space)
    body = cohort.body
    clutter = part(textures.blotches, *_shares(body[:, 16:19]))
    air = space.lung * (1 - np.float32(0.9) * heart)
    air *= 1 - layers.dense
    marks = vessels(textures, *_shares(body[:, 19:21])) * shape.markings
    marks += np.float32(look.clutter * 0.35) * clutter
    marks *= 1 - layers.lucent
    marks -= shape.air * (1 + np.float32(0.45) * layers.lucent)
    marks *= air
    image = draw_soft_tissue(grid, shape, space, heart)
    image += marks
    image += np.float32(0.12) * layers.dense * space.lung * (1 - heart)
    image += draw_bones(grid, shape, space)
    image += layers.bright
    return image


def _shares(normals: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Columns of normal numbers as numbers in [0, 1): their last digits."""
    scaled = normals * np.float32(7.3)
    return list((scaled - np.floor(scaled)).clip(0, 0.999999).T)


def _exposed(
    image: Field, cohort: Cohort, grid: Grid, look: Look, rng: np.random.Generator
) -> Images:
    """Pixels: exposure of the exam and noise. AP images, taken in bed, have less contrast."""
    visit = cohort.visit
    contrast = (1 + 0.10 * look.variation * visit[:, 2] - 0.08 * cohort.ap)[:, None, None]
    offset = (0.04 * look.variation * visit[:, 3] + 0.02 * cohort.ap)[:, None, None]
    noise = np.float32(look.noise * np.sqrt(grid.size / 64))
    image -= np.float32(0.5)
    image *= contrast.astype(np.float32)
    image += (offset + 0.5).astype(np.float32)
    image += noise * rng.standard_normal(image.shape, np.float32)
    image *= np.float32(255)
    image += np.float32(0.5)
    return np.clip(image, 0, 255).astype(np.uint8)
