"""Augmentation: what it leaves alone, what it may change, and by how much."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from concilium.data.augmentation import Augmentation
from concilium.foundation.errors import InputError
from concilium.foundation.seeds import torch_generator

IMAGES = torch.rand(6, 1, 16, 16, generator=torch_generator(0, "images")) * 2 - 1
KINDS = [
    Augmentation(rotation_degrees=10),
    Augmentation(translation=0.1),
    Augmentation(scale=0.2),
    Augmentation(contrast=0.3),
    Augmentation(brightness=0.3),
    Augmentation(noise=0.1),
    Augmentation(horizontal_flip=True),
]


def test_no_change_gives_the_same_object() -> None:
    assert Augmentation()(IMAGES, torch_generator(0)) is IMAGES


def test_features_pass_through() -> None:
    features = torch.randn(4, 10)
    assert KINDS[0](features, torch_generator(0)) is features


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_every_kind_changes_images_within_range_and_by_the_seed_alone(kind: Augmentation) -> None:
    before = IMAGES.clone()
    once, again = kind(IMAGES, torch_generator(1)), kind(IMAGES, torch_generator(1))
    assert torch.equal(once, again)
    assert not torch.equal(once, kind(IMAGES, torch_generator(2)))
    assert once.shape == IMAGES.shape
    assert once.dtype == torch.float32
    assert once.abs().max() <= 1
    assert torch.equal(IMAGES, before), "the batch that came in is not written into"


@pytest.mark.parametrize("seed", range(5))
def test_a_flip_is_a_mirror_image_or_none(seed: int) -> None:
    flipped = Augmentation(horizontal_flip=True)(IMAGES, torch_generator(seed))
    for new, old in zip(flipped, IMAGES, strict=True):
        same = torch.allclose(new, old, atol=1e-5)
        mirrored = torch.allclose(new, old.flip(-1), atol=1e-5)
        assert same != mirrored


def test_no_side_changes_unless_asked() -> None:
    # A bright spot in the left half stays in the left half under every kind but the flip.
    spot = torch.full((50, 1, 16, 16), -1.0)
    spot[:, :, 7:9, 2:4] = 1
    gentle = Augmentation(10, 0.05, 0.1, 0.1, 0.1, 0.0)
    changed = gentle(spot, torch_generator(3))
    left, right = changed[..., :8].amax(dim=(1, 2, 3)), changed[..., 8:].amax(dim=(1, 2, 3))
    assert (left > right).all()


def test_translation_moves_by_at_most_the_fraction_given() -> None:
    spot = torch.full((200, 1, 21, 21), -1.0)
    spot[:, :, 10, 10] = 1
    moved = Augmentation(translation=0.2)(spot, torch_generator(0)) + 1
    place = torch.arange(21.0) - 10
    x = (moved.sum(dim=(1, 2)) * place).sum(dim=1) / moved.sum(dim=(1, 2, 3))
    assert x.abs().max() <= 0.2 * 21 + 1e-3
    assert x.abs().max() > 0.2 * 21 * 0.9, "200 draws come near the limit"
    assert abs(float(x.mean())) < 0.5, "and to both sides"


def test_what_comes_in_from_outside_is_black() -> None:
    white = torch.ones(20, 1, 8, 8)
    moved = Augmentation(translation=0.5)(white, torch_generator(0))
    assert moved.min() == -1


def test_a_turned_circle_is_the_same_circle_in_a_wide_image() -> None:
    # Rotation must not shear where height and width differ.
    y, x = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(64.0) - 31.5, indexing="ij")
    circle = torch.sigmoid(8 - (x**2 + y**2).sqrt()) * 2 - 1
    turned = Augmentation(rotation_degrees=45)(circle.expand(10, 1, 32, 64), torch_generator(0))
    assert (turned - circle).abs().max() < 0.1


def test_contrast_keeps_the_mean_and_brightness_moves_it() -> None:
    gray = IMAGES * 0.3
    contrasted = Augmentation(contrast=0.5)(gray, torch_generator(0))
    assert torch.allclose(contrasted.mean(dim=(1, 2, 3)), gray.mean(dim=(1, 2, 3)), atol=1e-5)
    ratio = contrasted.std(dim=(1, 2, 3)) / gray.std(dim=(1, 2, 3))
    assert ((ratio >= 0.5) & (ratio <= 1.5)).all()
    brighter = Augmentation(brightness=0.2)(gray, torch_generator(0)) - gray
    assert torch.allclose(brighter.std(dim=(1, 2, 3)), torch.zeros(6), atol=1e-6)
    assert brighter.abs().max() <= 0.2


def test_noise_has_the_deviation_given() -> None:
    flat = torch.zeros(4, 1, 100, 100)
    noise = Augmentation(noise=0.1)(flat, torch_generator(0))
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)  # 40,000 draws: ±0.4 % at one sigma


def test_switching_noise_off_leaves_the_geometry_as_it_was() -> None:
    with_noise = Augmentation(rotation_degrees=10, noise=1e-6)(IMAGES, torch_generator(0))
    without = Augmentation(rotation_degrees=10)(IMAGES, torch_generator(0))
    assert torch.allclose(with_noise, without, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 1, 16, 16), (3, 1, 20, 31), (1, 1, 28, 28)])
def test_geometry_is_that_of_torch_to_the_bit(shape: tuple[int, ...]) -> None:
    """A grid of places that all images share gives what torch's grid of each image gives."""
    images = torch.rand(shape, generator=torch_generator(1)) * 2 - 1
    kind = Augmentation(15, 0.1, 0.2, horizontal_flip=True)
    draw = torch.rand(7, len(images), generator=torch_generator(2)) * 2 - 1
    matrix = kind._matrices(draw, shape[-1] / shape[-2])
    grid = functional.affine_grid(matrix, list(shape), align_corners=False)
    expected = functional.grid_sample(images + 1, grid, align_corners=False) - 1
    assert torch.equal(kind._geometry(images, draw), expected)


def test_an_image_is_changed_as_if_the_others_were_not_there() -> None:
    """The same place in the batch, the same draws: only the neighbours differ."""
    kind = Augmentation(10, 0.1, 0.1, 0.2, 0.2, 0.1, True)
    others = torch.cat([IMAGES[:1], -IMAGES[1:]])
    one, other = kind(IMAGES, torch_generator(1)), kind(others, torch_generator(1))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1:], other[1:])


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="rotation_degrees=-1"):
        Augmentation(rotation_degrees=-1)
    with pytest.raises(InputError, match="translation=2"):
        Augmentation(translation=2)
