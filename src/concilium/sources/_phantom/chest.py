"""What every chest shows: heart, soft tissue, bones."""

from __future__ import annotations

import numpy as np

from concilium.sources._phantom.anatomy import Anatomy, Geometry, diaphragm
from concilium.sources._phantom.fields import Field, Grid, cloud, gaussian, ramp

_TORSO_AT = (
    0.0,
    0.06,
    0.10,
    0.14,
    0.19,
    0.26,
    0.36,
    0.65,
    1.0,
)  # heights of these half widths of the body
_TORSO = (0.11, 0.12, 0.17, 0.29, 0.41, 0.48, 0.50, 0.47, 0.44)


def draw_heart(grid: Grid, shape: Anatomy, space: Geometry) -> Field:
    """Heart and aortic knob (B, S, S) in [0, 1]: two thirds of the heart on the patient's left."""
    width = 2 * shape.heart * shape.chest
    centre_y = np.minimum(shape.base_left, shape.base_right) - shape.dome - 0.05
    x = space.u - 0.18 * width
    y = grid.y - centre_y
    tilted = x * np.float32(0.92) + y * np.float32(0.38)
    raised = y * np.float32(0.92) - x * np.float32(0.38)
    ellipse = 1 - np.sqrt((tilted / (0.5 * width)) ** 2 + (raised / (0.44 * width)) ** 2)
    heart = ramp(ellipse, max(0.12, 5 / grid.size))
    knob = gaussian(space.u - 0.055, shape.knob * 0.5) * gaussian(
        grid.y - shape.apex - 0.19, shape.knob * 0.7
    )
    hila = gaussian(np.abs(space.u) - 0.085, 0.028) * gaussian(grid.y - shape.apex - 0.34, 0.05)
    return np.maximum(np.maximum(heart, knob), np.float32(0.4) * hila)


def draw_soft_tissue(grid: Grid, shape: Anatomy, space: Geometry, heart: Field) -> Field:
    """Body without air and bones: brighter over the mediastinum and below the diaphragm."""
    width = np.interp(grid.y[0, :, 0], _TORSO_AT, _TORSO).astype(np.float32)[None, :, None]
    body = ramp(width * (shape.torso / 0.47) - np.abs(space.u), 0.07)
    below = grid.y - diaphragm(shape, space.u)
    tissue = np.maximum(ramp(below - 0.02, 0.14) * np.float32(0.2), np.float32(0.11) * heart)
    tissue += gaussian(space.u, 1.1 * shape.mediastinum) * np.float32(0.10)
    tissue += gaussian(np.abs(space.u) - 0.2, 0.10) * (gaussian(grid.y - 0.72, 0.09) * shape.breast)
    tissue -= _stomach(grid, shape)
    tissue += shape.tissue
    tissue *= body
    tissue += np.float32(0.06)
    return np.asarray(tissue)


def _stomach(grid: Grid, shape: Anatomy) -> Field:
    """Darkness (B, S, S) of the air in the stomach, under the left diaphragm."""
    x = shape.midline + 0.5 * shape.chest
    y = shape.base_left - 0.45 * shape.dome + 0.05
    return shape.stomach * cloud(grid, x, y, np.float32(0.05), np.float32(0.025))


def draw_bones(grid: Grid, shape: Anatomy, space: Geometry) -> Field:
    """Brightness (B, S, S) of ribs, spine and collar bones."""
    turn = np.float32(2 * np.pi)
    across = np.abs(space.u)
    row = turn * (grid.y / shape.rib_spacing + shape.rib_phase)
    column = turn * (1.6 * across * across + 0.05 * across) / shape.rib_spacing
    wave = np.cos(row) * np.cos(column) + np.sin(row) * np.sin(column)
    ribs = np.clip(wave - np.float32(0.1), 0, None)
    ribs *= ramp(space.lateral + 0.01, 0.02)
    ribs *= ramp(diaphragm(shape, space.u) + 0.06 - grid.y, 0.1) * shape.rib_contrast
    spine = gaussian(space.u, np.float32(0.035)) * (
        np.float32(0.07) + np.float32(0.02) * np.cos(row * np.float32(1.4))
    )
    collar = grid.y - (shape.apex + 0.10 - 0.28 * across + 0.35 * across * across)
    ribs += spine
    ribs += gaussian(collar, np.float32(grid.softness(0.012))) * (
        np.float32(0.09) * ramp(np.float32(0.33) - across, 0.05)
    )
    return np.asarray(ribs)
