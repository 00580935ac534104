"""How a hospital's machines and protocols change an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from concilium.data.rows import Rows
from concilium.foundation.checks import fraction, not_negative, positive
from concilium.foundation.errors import DataError, Problem
from concilium.foundation.seeds import numpy_generator

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_CHUNK = 256  # images in float32 at a time: 51 MB at 224 pixels
_MIDDLE = 127.5  # contrast turns about the middle of the range, so that it does not brighten


@dataclass(frozen=True)
class Acquisition:
    """One hospital's habit. The default leaves an image as it is, to the byte.

    ``contrast`` > 0 multiplies the distance from mid-gray; ``brightness`` in [-1, 1] is added, as a
    fraction of 255; ``blur`` ≥ 0 is the sigma of a Gaussian, as a fraction of the image's width;
    ``noise`` ≥ 0 is the standard deviation of Gaussian noise, as a fraction of 255; ``rotation`` in
    degrees, counter-clockwise; ``collimation`` in [0, 1] is the fraction of width and of height
    that black borders cover, half on each side. Raises InputError outside these ranges.
    """

    contrast: float = 1.0
    brightness: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    rotation: float = 0.0
    collimation: float = 0.0

    def __post_init__(self) -> None:
        positive(contrast=self.contrast)
        not_negative(blur=self.blur, noise=self.noise)
        fraction(collimation=self.collimation, brightness=abs(self.brightness))

    def apply(self, images: Images | Rows, seed: int) -> Images:
        """Turn images (N, H, W) uint8 into what this hospital would have taken, same shape.

        The noise of an image comes from the seed and its own pixels, so that it depends neither on
        the other images of the call nor on their order. Raises DataError for feature vectors.
        """
        _images_only(images)
        if self == Acquisition():
            return np.array(images[:], copy=True)
        result = np.empty(images.shape, np.uint8)
        turn = _turning(images.shape[1], images.shape[2], self.rotation) if self.rotation else None
        for start in range(0, len(images), _CHUNK):
            chunk = np.asarray(images[start : start + _CHUNK])
            changed = self._change(chunk, turn, seed)
            result[start : start + _CHUNK] = np.rint(changed).clip(0, 255).astype(np.uint8)
        return result

    def _change(self, images: Images, turn: sparse.csr_array | None, seed: int) -> Floats:
        pixels: Floats = images.astype(np.float32)
        if turn is not None:
            pixels = (turn @ pixels.reshape(len(pixels), -1).T).T.reshape(pixels.shape)
        if self.blur:
            sigma = self.blur * pixels.shape[2]
            from scipy.ndimage import gaussian_filter1d  # 40 ms, where nothing is blurred in vain

            for axis in (1, 2):
                pixels = gaussian_filter1d(pixels, sigma, axis=axis, mode="nearest")
        offset = _MIDDLE * (1 - self.contrast) + 255 * self.brightness
        pixels = pixels * np.float32(self.contrast) + np.float32(offset)
        if self.noise:
            pixels += np.float32(255 * self.noise) * _noise_of_each(images, seed)
        return self._collimated(pixels)

    def _collimated(self, pixels: Floats) -> Floats:
        """Black outside the collimator; last, since what the beam does not reach stays black."""
        height, width = pixels.shape[1:]
        rows = round(self.collimation * height / 2)
        columns = round(self.collimation * width / 2)
        open_field = np.zeros((height, width), np.float32)
        open_field[rows : height - rows, columns : width - columns] = 1
        return pixels * open_field


def draw_acquisition(strength: float, seed: int) -> Acquisition:
    """Draw the habit of one hospital.

    ``strength`` in [0, 1] scales every deviation: 0 is no change at all; at 1 contrast lies between
    0.67 and 1.5, brightness within ±0.15, blur up to 0.015 of the width, noise up to 0.06 of the
    range, rotation within ±8 degrees and collimation up to 0.12. Raises InputError outside [0, 1].
    """
    fraction(strength=strength)
    low_to_high = numpy_generator(seed, "acquisition habit").uniform(size=6)
    around_zero = 2 * low_to_high - 1
    return Acquisition(
        contrast=float(1.5 ** (strength * around_zero[0])),
        brightness=float(0.15 * strength * around_zero[1]),
        blur=float(0.015 * strength * low_to_high[2]),
        noise=float(0.06 * strength * low_to_high[3]),
        rotation=float(8 * strength * around_zero[4]),
        collimation=float(0.12 * strength * low_to_high[5]),
    )


def _images_only(images: Images | Rows) -> None:
    if images.dtype != np.uint8 or len(images.shape) != 3:
        what = f"acquisition changes images (N, H, W) uint8, not {images.dtype} {images.shape}"
        remedy = "feature vectors have no contrast or blur: leave acquisition_shift out"
        raise DataError(Problem("", what, remedy))


def _noise_of_each(images: Images, seed: int) -> Floats:
    """Draw normal noise (N, H, W), that of each image from the seed and its own bytes."""
    noise = np.empty(images.shape, np.float32)
    for i, image in enumerate(images):
        content = hashlib.blake2b(image.tobytes(), digest_size=8).hexdigest()
        generator = numpy_generator(seed, "acquisition noise", content)
        generator.standard_normal(dtype=np.float32, out=noise[i])
    return noise


def _turning(height: int, width: int, degrees: float) -> sparse.csr_array:
    """Bilinear rotation about the centre as a sparse matrix (H·W, H·W); black from outside."""
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[:height, :width].reshape(2, -1) - np.array([[height - 1], [width - 1]]) / 2
    from_y = np.cos(angle) * y + np.sin(angle) * x + (height - 1) / 2  # rows run downwards
    from_x = np.cos(angle) * x - np.sin(angle) * y + (width - 1) / 2
    pixel = np.arange(height * width)
    parts = []
    for dy in (0, 1):
        for dx in (0, 1):
            near_y, near_x = np.floor(from_y) + dy, np.floor(from_x) + dx
            weight = (1 - abs(from_y - near_y)) * (1 - abs(from_x - near_x))
            inside = (near_y >= 0) & (near_y < height) & (near_x >= 0) & (near_x < width)
            source = (near_y * width + near_x)[inside].astype(np.int64)
            parts.append((weight[inside], pixel[inside], source))
    weights, targets, sources = (np.concatenate(each) for each in zip(*parts, strict=True))
    shape = (height * width, height * width)
    return sparse.csr_array((weights.astype(np.float32), (targets, sources)), shape=shape)
