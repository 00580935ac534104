"""One image file or array becomes one (S, S) uint8 image: read, window, crop or pad, resize.

Rows are rows: an image of 200 by 100 pixels, width by height, is read as (100, 200), never
transposed. EXIF orientation is not applied. Transparency is composited on black, colour becomes
luminance, a palette is looked up, one bit becomes 0 and 255.

8-bit images are taken as already windowed for display and keep their values. Deeper ones (16-bit
PNG, 16-bit or floating-point arrays) are windowed to 0..255 by the setting ``window``:

- ``percentile``: from the 0.5th to the 99.5th percentile of the image's own pixels, clipped. It
  does not matter how many of the 16 bits the hospital used. An image of one value becomes black.
- ``full``: the whole range of the type, 0..65535, or 0..1 for floating-point arrays.

The window is that of the whole image; then it is made square by the setting ``resize``:

- ``crop``: the central square, as torchxrayvision (J. P. Cohen et al., "TorchXRayVision: a library
  of chest X-ray datasets and models", MIDL 2022, arXiv 2111.00595) does; the default.
- ``pad``: black borders; nothing is lost at the edges (costophrenic angles of a tall image).
- ``stretch``: the aspect is not kept.

Resizing averages over the area of each new pixel (antialiased), and is bilinear where the image
gets larger.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from concilium.foundation.checks import at_least, one_of
from concilium.foundation.errors import DataError, Problem

PIXEL_LIMIT = 100_000_000
"""Pixels that one image may have, or Pillow's own limit (89 million) where that is lower.

A detector has about 20 million."""

Pixels = npt.NDArray[np.uint8]
Resize = Literal["crop", "pad", "stretch"]
Window = Literal["percentile", "full"]

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class ImageForm:
    """The form that every image of a data set gets: side ``size`` in pixels, and how."""

    size: int = 64
    resize: Resize = "crop"
    window: Window = "percentile"

    def __post_init__(self) -> None:
        at_least(1, image_size=self.size)
        one_of(("crop", "pad", "stretch"), resize=self.resize)
        one_of(("percentile", "full"), window=self.window)

    def describe(self, deep: int = 0) -> str:
        """What was done to the images, as reports print it; ``deep`` of them had over 8 bits."""
        square = {"crop": "central square", "pad": "padded to a square", "stretch": "stretched"}
        how = {"percentile": "0.5-99.5 percentile window", "full": "full-range window"}
        text = f"{self.size} x {self.size} pixels, {square[self.resize]}"
        return f"{text}; {deep:,} with more than 8 bits: {how[self.window]}" if deep else text


def read_image(path: Path, form: ImageForm) -> Pixels:
    """A PNG or JPG file as (S, S) uint8.

    Raises DataError whose one problem says what is wrong and what to do; the caller knows where.
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _pixel_limit():
                raise Image.DecompressionBombError
            image.load()
            return _in_form(_gray(image), form)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        what = f"has more than {_pixel_limit():,} pixels and was not opened (decompression bomb?)"
        raise _unusable(what, "export it at the detector's size") from None
    except Exception as error:
        # Pillow raises many kinds on damaged files (OSError, SyntaxError, struct.error, …), and no
        # file of a hospital may end a run with a traceback.
        raise _unusable(*_reason(path, error)) from None


def prepare_array(array: npt.NDArray[Any], form: ImageForm) -> Pixels:
    """One image (H, W) or (H, W, 3 or 4), uint8, uint16 or floating point, as (S, S) uint8.

    Raises DataError for a NaN or infinite pixel, and for another type.
    """
    if array.ndim == 3:
        if array.dtype != np.uint8 or array.shape[2] not in {3, 4}:
            raise _unusable(f"has shape {array.shape} and type {array.dtype}", "give 8-bit RGB")
        return _in_form(_gray(Image.fromarray(np.ascontiguousarray(array))), form)
    if array.dtype == np.uint8:
        return _in_form(Image.fromarray(np.ascontiguousarray(array)), form)
    return _in_form(_windowed(array, form.window), form)


@contextmanager
def bombs_refused() -> Iterator[None]:
    """Make Pillow's warning of a decompression bomb an error.

    Warning filters belong to the process: enter this once around the threads, not in each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _in_form(image: Image.Image | npt.NDArray[np.float32], form: ImageForm) -> Pixels:
    """Window, make square, resize an image of mode L, or an array of a deep one in 0..255."""
    if isinstance(image, Image.Image) and image.mode in _DEEP_MODES:
        image = _windowed(np.asarray(image), form.window)
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    if form.resize != "stretch":
        image = image.crop(_square(image.width, image.height, form.resize))
    side = (form.size, form.size)
    if image.size != side:
        smaller = image.width >= form.size and image.height >= form.size
        kind = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
        image = image.resize(side, kind)
    pixels = np.asarray(image)
    return pixels if pixels.dtype == np.uint8 else _to_bytes(pixels)


def _square(width: int, height: int, resize: Resize) -> tuple[int, int, int, int]:
    """Corners (left, upper, right, lower) of the central square; outside the image is black."""
    side = min(width, height) if resize == "crop" else max(width, height)
    left, upper = (width - side) // 2, (height - side) // 2
    return left, upper, left + side, upper + side


def _gray(image: Image.Image) -> Image.Image:
    """The image in mode L, or as it is where it is gray and deeper than 8 bits."""
    if image.mode in _DEEP_MODES or (image.mode == "L" and not image.has_transparency_data):
        return image
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, colour).convert("L")
    return image.convert("RGB").convert("L") if image.mode == "P" else image.convert("L")


def _windowed(array: npt.NDArray[Any], window: Window) -> npt.NDArray[np.float32]:
    """Gray values of more than 8 bits as float32 in 0..255."""
    floating = array.dtype.kind == "f"
    if array.dtype.kind not in "uif":
        raise _unusable(f"has type {array.dtype}", "give uint8, uint16 or floating-point images")
    values = array.astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise _unusable(f"has {bad} NaN or infinite pixels", "export it again, or leave it out")
    if window == "full":
        low, high = 0.0, 1.0 if floating else 65535.0
        if values.min() < low or values.max() > high:
            remedy = 'set window = "percentile"'
            raise _unusable(f"has pixels outside {low:g}..{high:g}", remedy)
    else:
        low, high = (float(edge) for edge in np.percentile(values, _PERCENTILES))
    if high <= low:
        return np.zeros_like(values)
    scaled: npt.NDArray[np.float32] = (values - np.float32(low)) * np.float32(255 / (high - low))
    return scaled.clip(0, 255)


def _to_bytes(values: npt.NDArray[Any]) -> Pixels:
    pixels: Pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    return pixels


def _pixel_limit() -> int:
    """Pillow warns from its own limit on; what it warns of is refused as well."""
    return min(PIXEL_LIMIT, Image.MAX_IMAGE_PIXELS or PIXEL_LIMIT)


def _reason(path: Path, error: Exception) -> tuple[str, str]:
    """What is wrong with a file that cannot be read, and what to do. Never quotes the path."""
    if not path.is_file():
        return "is not there", "check the name and the folder"
    if path.stat().st_size == 0:
        return "is empty (0 bytes)", "copy it again"
    if isinstance(error, PermissionError):
        return "may not be read", "give this user the right to read it"
    if isinstance(error, UnidentifiedImageError):
        return "is not a PNG or JPG image", "export it as PNG or JPG, or remove its row"
    if "truncated" in str(error).casefold():
        return "is truncated", "copy it again, or remove its row"
    return f"is damaged ({type(error).__name__})", "copy it again, or remove its row"


def _unusable(what: str, remedy: str) -> DataError:
    return DataError(Problem("", what, remedy))
