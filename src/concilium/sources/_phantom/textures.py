"""Textures that no formula draws: blotches, reticular lines, trees of vessels.

A few of each kind are drawn once per data set; every exam takes its own part of one. They are made
of a fixed number of waves or line segments, so they look the same at any image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from concilium.foundation.seeds import numpy_generator
from concilium.sources._phantom.fields import Field, Grid

_KINDS = 12  # of each texture
_WAVES = 15  # highest wave number: also 32 pixels a side can show it
_HILUM = (0.085, 0.44)  # of each lung: distance from the midline, and height

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Textures:
    """Textures for images of S pixels a side.

    ``blotches`` and ``reticulum`` (K, 2S, 2S), periodic with zero mean and unit spread;
    ``vessels`` (K, S, S) in [0, 1], about a midline at 0.5.
    """

    blotches: Field
    reticulum: Field
    vessels: Field

    @staticmethod
    @lru_cache(maxsize=2)  # some tenths of a second at 224 pixels; never written to
    def draw(grid: Grid, seed: int) -> Textures:
        """The textures of one data set."""
        rng = numpy_generator(seed, "phantom", "textures")
        return Textures(
            blotches=_tiled(_waves(rng, grid.size, 4.0, 2.0)),
            reticulum=_tiled(_ridges(_waves(rng, grid.size, 11.0, 2.0))),
            vessels=np.stack([_vessel_tree(rng, grid) for _ in range(_KINDS)]),
        )


def part(tiles: Field, kind: Field, right: Field, down: Field) -> Field:
    """A window (B, S, S) of periodic tiles (K, 2S, 2S); kind and shifts (B,) lie in [0, 1)."""
    size = tiles.shape[1] // 2
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (size, size), axis=(1, 2))
    return np.asarray(windows[_code(kind, len(tiles)), _code(down, size), _code(right, size)])


def vessels(textures: Textures, kind_right: Field, kind_left: Field) -> Field:
    """Vessels (B, S, S) of both lungs, each from its own tree; kinds (B,) lie in [0, 1)."""
    half = textures.vessels.shape[2] // 2
    trees = textures.vessels
    right = trees[_code(kind_right, len(trees)), :, :half]
    left = trees[_code(kind_left, len(trees)), :, half:]
    return np.concatenate([right, left], axis=2)


def _code(share: Field, number: int) -> Codes:
    return np.minimum((share * number).astype(np.int64), number - 1)


def _tiled(texture: Field) -> Field:
    return np.tile(texture, (1, 2, 2))


def _waves(rng: np.random.Generator, size: int, number: float, spread: float) -> Field:
    """Periodic random fields (K, S, S) of about ``number`` waves a side, unit spread."""
    index = np.arange(-_WAVES, _WAVES + 1)
    radius = np.hypot(index[:, None], index[None, :])
    shape = (_KINDS, len(index), len(index))
    amplitude = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    amplitude *= np.exp(-0.5 * ((radius - number) / spread) ** 2)
    spectrum = np.zeros((_KINDS, size, size), np.complex128)
    spectrum[:, index[:, None] % size, index[None, :] % size] = amplitude
    return _standardised(np.fft.ifft2(spectrum).real)


def _ridges(waves: Field) -> Field:
    """A net of thin lines: where the waves cross zero."""
    return _standardised(np.exp(-0.5 * (waves / 0.35) ** 2))


def _standardised(field: npt.NDArray[np.floating]) -> Field:
    centred = field - field.mean(axis=(1, 2), keepdims=True)
    return np.asarray(centred / centred.std(axis=(1, 2), keepdims=True), np.float32)


def _vessel_tree(rng: np.random.Generator, grid: Grid) -> Field:
    """One image (S, S) of vessels that leave both hila and grow thinner."""
    image = np.zeros((grid.size, grid.size), np.float32)
    for side in (-1, 1):
        hilum = np.array([0.5 + side * _HILUM[0], _HILUM[1]])
        for angle in np.linspace(-1.25, 1.25, 6) + rng.normal(0, 0.12, 6):
            _branch(image, grid, rng, hilum, angle, side, thickness=0.011, generation=0)
    return np.clip(image, 0, 1)


def _branch(
    image: Field,
    grid: Grid,
    rng: np.random.Generator,
    start: npt.NDArray[np.float64],
    angle: float,
    side: int,
    thickness: float,
    generation: int,
) -> None:
    """Draw one vessel, in place, and the two it divides into."""
    length = rng.uniform(0.09, 0.15) * 0.8**generation
    end = start + length * np.array([side * np.cos(angle), np.sin(angle)])
    np.maximum(image, _segment(grid, start, end, thickness), out=image)
    if generation < 2:
        for turn in rng.normal([-0.35, 0.35], 0.12):
            _branch(image, grid, rng, end, angle + turn, side, thickness * 0.65, generation + 1)


def _segment(
    grid: Grid, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], thickness: float
) -> Field:
    """A soft line (S, S); thinner than a pixel it becomes fainter, not thinner."""
    across, along = grid.x[0] - start[0], grid.y[0] - start[1]
    step = end - start
    place = np.clip((across * step[0] + along * step[1]) / (step @ step), 0, 1)
    distance = np.hypot(across - place * step[0], along - place * step[1])
    width = grid.softness(thickness)
    line = np.exp(-0.5 * (distance / width) ** 2) * (thickness / width)
    return np.asarray(line, np.float32)
