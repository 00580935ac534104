"""The chest of each exam: shape parameters, and the geometry that they give."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from concilium.sources._phantom.cohort import Cohort
from concilium.sources._phantom.fields import Field, Grid, ramp


@dataclass(frozen=True)
class Anatomy:
    """Shape of B chests, each value (B, 1, 1) in parts of the image's side unless noted.

    ``midline`` x of the spine; ``chest`` half width of the thorax; ``mediastinum`` half width;
    ``apex`` y of the lungs' tops; ``base_right``, ``base_left`` y of their lower borders at the
    costophrenic angle; ``dome`` how far the diaphragm rises above it; ``heart`` the heart's width
    as a part of the chest's (the cardiothoracic ratio); ``air`` brightness lost in a lung;
    ``markings`` brightness of vessels; ``tissue`` brightness of soft tissue; ``torso`` half width
    of the body; ``rib_spacing``; ``rib_phase`` in spacings; ``rib_contrast`` in brightness;
    ``breast``, ``stomach`` (its air) in brightness; ``knob``, size of the aorta's arch.
    """

    midline: Field
    chest: Field
    mediastinum: Field
    apex: Field
    base_right: Field
    base_left: Field
    dome: Field
    heart: Field
    air: Field
    markings: Field
    tissue: Field
    torso: Field
    rib_spacing: Field
    rib_phase: Field
    rib_contrast: Field
    breast: Field
    knob: Field
    stomach: Field

    def take(self, rows: npt.NDArray[np.intp]) -> Anatomy:
        """The chests of some rows."""
        return Anatomy(*(getattr(self, field.name)[rows] for field in fields(self)))


def healthy(cohort: Cohort, variation: float) -> Anatomy:
    """Chests without findings; ``variation`` scales how much patients and breaths differ.

    Women have a narrower chest and a breast shadow, the old a wider aorta; in AP view, in bed, the
    breath is shallower and the heart nearer to the tube, so it looks wider.
    """

    def vary(mean: float, spread: float, normal: npt.NDArray[np.float32]) -> Field:
        return (mean + spread * variation * np.clip(normal, -2.5, 2.5)).astype(np.float32)

    body, visit = cohort.body.T, cohort.visit.T
    female, ap = cohort.female.astype(np.float32), cohort.ap.astype(np.float32)
    breath = vary(0.0, 0.022, visit[0]) - 0.025 * ap
    base = vary(0.76, 0.018, body[3]) + breath
    values = {
        "midline": vary(0.5, 0.012, visit[1]),
        "chest": vary(0.37, 0.018, body[0]) - 0.015 * female,
        "mediastinum": vary(0.072, 0.007, body[1]) + 0.006 * ap,
        "apex": vary(0.10, 0.014, body[2]),
        "base_right": base + vary(0.0, 0.008, body[4]),
        "base_left": base + vary(0.022, 0.008, body[5]),
        "dome": vary(0.105, 0.014, body[6]),
        "heart": vary(0.45, 0.028, body[7]) + 0.03 * ap,
        "air": vary(0.37, 0.03, body[8]) - 0.05 * ap,
        "markings": vary(0.11, 0.022, body[9]),
        "tissue": vary(0.60, 0.03, body[10]),
        "torso": vary(0.47, 0.03, body[11]),
        "rib_spacing": vary(0.080, 0.004, body[12]),
        "rib_phase": body[13],
        "rib_contrast": vary(0.075, 0.015, body[14]),
        "breast": female * np.clip(vary(0.06, 0.025, body[15]), 0, None),
        "stomach": np.clip(vary(0.08, 0.10, visit[4]), 0, None),
        "knob": 0.03 + 0.0009 * cohort.age,
    }
    return Anatomy(**{k: v.astype(np.float32)[:, None, None] for k, v in values.items()})


@dataclass(frozen=True)
class Geometry:
    """Where things are in B images: signed distances in parts of the image's side.

    ``u`` (B, 1, S) from the midline, negative in the right lung (the image's left); ``profile``
    (B, S, 1) in [0, 1], the chest's width at each height; ``lateral`` (B, S, S) from the chest
    wall, ``above`` (B, S, S) from the diaphragm, both positive inside; ``lung`` (B, S, S) in
    [0, 1].
    """

    u: Field
    profile: Field
    lateral: Field
    above: Field
    lung: Field


def geometry(grid: Grid, shape: Anatomy) -> Geometry:
    """The geometry of chests of this shape."""
    u = grid.x - shape.midline
    height = np.maximum(shape.base_right, shape.base_left) - shape.apex
    profile = chest_profile((grid.y - shape.apex) / height)
    distance = np.abs(u)
    lateral = profile * shape.chest - distance
    above = diaphragm(shape, u) - grid.y
    soft = grid.softness(0.018)
    lung = ramp(lateral, soft)
    lung *= ramp(above, soft)
    lung *= ramp(distance - shape.mediastinum, grid.softness(0.03))
    return Geometry(u, profile, lateral, above, lung)


def chest_profile(t: Field) -> Field:
    """Width of the chest in [0, 1] at a height t from apex (0) to base (1): a rounded top."""
    return np.asarray(np.sqrt(1 - (1 - np.clip(t, 0, 1)) ** np.float32(3.5)))


def diaphragm(shape: Anatomy, u: Field) -> Field:
    """Height y (B, 1, S) of the diaphragm: one dome a side, the left one lower."""
    base = lower_border(shape, u)
    across = (np.abs(u) - 0.45 * shape.chest) / (0.58 * shape.chest)
    return np.asarray(base - shape.dome * np.clip(1 - across * across, 0, None))


def lower_border(shape: Anatomy, u: Field) -> Field:
    """Height y (B, 1, S) of the costophrenic angle of each side, even across the midline."""
    return shape.base_right + (shape.base_left - shape.base_right) * ramp(u, 0.1)


def place_in_lung(shape: Anatomy, side: Field, across: Field, down: Field) -> tuple[Field, Field]:
    """A point (x, y), each (B, 1, 1), in a lung: ``side`` −1 right, +1 left; ``across`` 0 at the
    mediastinum, 1 at the chest wall; ``down`` 0 at the apex, 1 at the base.
    """
    base = np.where(side < 0, shape.base_right, shape.base_left) - 0.6 * shape.dome
    y = shape.apex + down * (base - shape.apex)
    width = shape.chest * chest_profile(down)
    x = shape.midline + side * (shape.mediastinum + across * (width - shape.mediastinum))
    return x, y
