"""Shapes on a square grid, drawn for many images at once.

The image is the unit square: x from 0 (left) to 1, y from 0 (top) to 1, so that a drawing does not
depend on the number of pixels. Parameters are (B, 1, 1), fields (B, S, S), all float32; a field
that varies along one side only is kept (B, 1, S) or (B, S, 1), which is S times cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]
Length = float | np.floating[Any] | Field


@dataclass(frozen=True)
class Grid:
    """Pixel centres of images of ``size`` pixels a side."""

    size: int

    @property
    def x(self) -> Field:
        """(1, 1, S)."""
        return _centres(self.size)[None, None, :]

    @property
    def y(self) -> Field:
        """(1, S, 1)."""
        return _centres(self.size)[None, :, None]

    def softness(self, wanted: float) -> float:
        """Width of an edge: as wanted, but never less than a pixel (no jagged edges)."""
        return max(wanted, 1.0 / self.size)


def _centres(size: int) -> Field:
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


def ramp(inside: Field, softness: Length) -> Field:
    """0 outside, 1 inside, linear over ``softness`` across the edge, where ``inside`` is 0."""
    field = inside / np.float32(softness)
    field += np.float32(0.5)
    return np.clip(field, 0, 1, out=field)


def gaussian(distance: Field, width: Length) -> Field:
    """exp(−distance² / (2 width²)), 1 at the centre."""
    scaled = distance / np.float32(width)
    return np.exp(np.float32(-0.5) * scaled * scaled)


def cloud(grid: Grid, x: Field, y: Field, width: Length, height: Length) -> Field:
    """A round haze without an edge (B, S, S): a Gaussian of these half widths about (x, y)."""
    return gaussian(grid.y - y, height) * gaussian(grid.x - x, width)


def disc(grid: Grid, x: Field, y: Field, radius: Field, softness: float) -> Field:
    """A round opacity (B, S, S) about (x, y) whose edge is ``softness`` wide."""
    distance = np.sqrt((grid.x - x) ** 2 + (grid.y - y) ** 2)
    return ramp(radius - distance, grid.softness(softness))


def cover(layer: Field, rows: npt.NDArray[np.intp], field: Field) -> None:
    """Lay ``field`` in [0, 1] over some rows of a layer, in place: 1 − (1 − a)(1 − b)."""
    held = layer[rows]
    held += field * (1 - held)
    layer[rows] = held
