"""Small random changes of training images that keep their labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from concilium.foundation.checks import fraction, not_negative


@dataclass(frozen=True)
class Augmentation:
    """How much an image may be changed; every image of a batch draws its own change.

    ``rotation_degrees`` ≥ 0: turned by up to so many degrees, either way. ``translation`` in
    [0, 1]: moved by up to this fraction of the side, in each direction. ``scale`` ≥ 0: enlarged by
    a factor between 1 / (1 + scale) and 1 + scale. ``contrast`` in [0, 1]: the distance from the
    image's mean is multiplied by a factor between 1 − contrast and 1 + contrast.
    ``brightness`` in [0, 1]: up to ± this is added, ``noise`` ≥ 0: the standard deviation of
    Gaussian noise; both where black is −1 and white is +1. What comes in from outside is black.

    ``horizontal_flip``: mirror every second image, on average. Off by default, because the heart
    has a side: a mirrored radiograph shows dextrocardia, moves the aortic arch, the gastric bubble
    and the higher right hemidiaphragm, and so is not a picture of any patient in the data.

    Raises InputError outside these ranges.
    """

    rotation_degrees: float = 0.0
    translation: float = 0.0
    scale: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    horizontal_flip: bool = False

    def __post_init__(self) -> None:
        not_negative(rotation_degrees=self.rotation_degrees, scale=self.scale, noise=self.noise)
        fraction(translation=self.translation, contrast=self.contrast, brightness=self.brightness)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change images (B, 1, H, W) float in [−1, 1]; the result has the same shape and range.

        Gives the same object where nothing is to be changed, and for features (B, d). Every kind
        of change draws its own numbers, so that switching one off leaves the others as they are.
        """
        if self == Augmentation() or images.ndim != 4:
            return images
        draw = torch.rand(7, len(images), generator=generator, device=generator.device)
        draw = draw.to(images) * 2 - 1
        changed = self._tones(self._geometry(images, draw), draw)  # a copy: written into below
        if self.noise:
            noise = torch.randn(images.shape, generator=generator, device=generator.device)
            changed.add_(noise.to(images).mul_(self.noise))
        return changed.clamp_(-1, 1)

    def _geometry(self, images: Tensor, draw: Tensor) -> Tensor:
        """Turn, scale, move and mirror, in one bilinear sampling."""
        moves = (self.rotation_degrees, self.translation, self.scale, self.horizontal_flip)
        if not any(moves):
            return images
        count, _, height, width = images.shape
        matrix = self._matrices(draw, width / height)
        # torch's affine_grid gives the same bits, but copies the places for each image first.
        places = _places(height, width, images.dtype, images.device).expand(count, -1, -1)
        grid = torch.bmm(places, matrix.transpose(1, 2)).view(count, height, width, 2)
        # Sampling puts 0 outside the image; black is −1, hence the shift.
        return functional.grid_sample(images + 1, grid, align_corners=False).sub_(1)

    def _matrices(self, draw: Tensor, aspect: float) -> Tensor:
        """Matrices (B, 2, 3) from places in the new image to places in the old one.

        Places run from −1 to 1 along either side; ``aspect`` (width / height) keeps turned squares
        square.
        """
        angle = draw[0] * math.radians(self.rotation_degrees)
        size = (1 + self.scale) ** draw[3]
        cosine, sine = angle.cos() / size, angle.sin() / size
        mirror = torch.where(draw[6] < 0, -1.0, 1.0) if self.horizontal_flip else 1.0
        shift_x, shift_y = (2 * self.translation * draw[1], 2 * self.translation * draw[2])
        rows = (
            torch.stack([cosine * mirror, -sine / aspect, -shift_x], dim=1),
            torch.stack([sine * aspect * mirror, cosine, -shift_y], dim=1),
        )
        return torch.stack(rows, dim=1)

    def _tones(self, images: Tensor, draw: Tensor) -> Tensor:
        factor = (1 + self.contrast * draw[4]).view(-1, 1, 1, 1)
        added = (self.brightness * draw[5]).view(-1, 1, 1, 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return (images - mean).mul_(factor).add_(mean).add_(added)


@lru_cache(maxsize=4)  # one for each size in use: 600 KB at 224 pixels; never written into
def _places(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The places (1, H·W, 3) of all pixels, as (x, y, 1): their centres, from −1 to 1."""
    places = torch.ones(height, width, 3, dtype=dtype, device=device)
    for axis, side in ((0, width), (1, height)):
        along = torch.linspace(-1, 1, side, dtype=dtype, device=device) * (side - 1) / side
        places[..., axis] = along if axis == 0 else along[:, None]
    return places.view(1, height * width, 3)
