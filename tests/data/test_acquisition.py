"""How a hospital's machines change images: each setting by its effect, and no image by another."""

from __future__ import annotations

import sys
from time import perf_counter

import numpy as np
import numpy.typing as npt
import pytest

from concilium.data.acquisition import Acquisition, draw_acquisition
from concilium.data.rows import Rows
from concilium.foundation.errors import DataError, InputError

Images = npt.NDArray[np.uint8]
ALL_AT_ONCE = Acquisition(1.2, 0.05, 0.02, 0.04, 7.0, 0.1)


@pytest.fixture(scope="module")
def images() -> Images:
    """Twelve images of 32 × 32 smooth random pixels, in the middle of the range."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(80, 180, (12, 8, 8))
    return np.kron(coarse, np.ones((1, 4, 4))).astype(np.uint8)


def test_the_default_gives_the_same_bytes_in_an_array_of_its_own(images: Images) -> None:
    result = Acquisition().apply(images, seed=1)
    np.testing.assert_array_equal(result, images)
    assert not np.shares_memory(result, images)


@pytest.mark.parametrize(
    "acquisition",
    [
        Acquisition(contrast=1.3),
        Acquisition(brightness=0.1),
        Acquisition(blur=0.02),
        Acquisition(noise=0.05),
        Acquisition(rotation=5),
        Acquisition(collimation=0.2),
        ALL_AT_ONCE,
    ],
)
def test_laws_of_every_setting(acquisition: Acquisition, images: Images) -> None:
    result = acquisition.apply(images, seed=1)
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    assert (result != images).any()
    np.testing.assert_array_equal(result, acquisition.apply(images, seed=1))
    rows = np.array([7, 2, 11])  # neither the other images nor their order matter
    np.testing.assert_array_equal(acquisition.apply(images[rows], seed=1), result[rows])
    np.testing.assert_array_equal(acquisition.apply(Rows(images, rows), seed=1), result[rows])


def test_more_images_than_are_changed_at_once(images: Images) -> None:
    many = np.concatenate([images] * 50)  # 600, more than two chunks
    result = ALL_AT_ONCE.apply(many, seed=1)
    np.testing.assert_array_equal(result, np.concatenate([ALL_AT_ONCE.apply(images, seed=1)] * 50))


def test_contrast_turns_about_mid_gray(images: Images) -> None:
    # 100 lies 27.5 below the middle and 155 as far above: doubled, 72.5 and 182.5, which are
    # rounded to the even number.
    flat = np.array([[[100, 155]]], np.uint8)
    assert Acquisition(contrast=2).apply(flat, 0).tolist() == [[[72, 182]]]


def test_brightness_is_a_fraction_of_the_range_and_saturates() -> None:
    flat = np.array([[[100, 250]]], np.uint8)
    assert Acquisition(brightness=0.1).apply(flat, 0).tolist() == [[[126, 255]]]
    assert Acquisition(brightness=-0.5).apply(flat, 0).tolist() == [[[0, 122]]]


def test_blur_keeps_a_flat_image_and_spreads_a_point_by_its_sigma() -> None:
    flat = np.full((1, 64, 64), 90, np.uint8)
    np.testing.assert_array_equal(Acquisition(blur=0.05).apply(flat, 0), flat)
    edge = np.zeros((1, 64, 64), np.uint8)
    edge[:, :, 32:] = 255
    # An edge blurred by σ = 0.05 · 64 = 3.2 pixels rises from 16 % to 84 % over 2 σ = 6.4 pixels.
    profile = Acquisition(blur=0.05).apply(edge, 0)[0, 32] / 255
    between = ((profile > 0.1587) & (profile < 0.8413)).sum()
    assert between in (6, 7)


def test_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    flat = np.full((4, 64, 64), 128, np.uint8)
    flat += np.arange(4, dtype=np.uint8)[:, None, None]  # four images that differ
    result = Acquisition(noise=0.05).apply(flat, 3).astype(float) - flat
    # 0.05 · 255 = 12.75; of 4,096 draws the standard deviation errs by about 1.1 %.
    assert result.std(axis=(1, 2)) == pytest.approx(12.75, rel=0.05)
    # Different images have different noise: the correlation of 4,096 draws is about ± 0.016.
    assert abs(np.corrcoef(result.reshape(4, -1)) - np.eye(4)).max() < 0.08
    assert (Acquisition(noise=0.05).apply(flat, 4) != Acquisition(noise=0.05).apply(flat, 3)).any()


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, -1)])
def test_quarter_turns_are_exact_and_counter_clockwise(
    degrees: float, turns: int, images: Images
) -> None:
    turned = np.rot90(images, turns, axes=(1, 2))  # numpy turns counter-clockwise, too
    np.testing.assert_array_equal(Acquisition(rotation=degrees).apply(images, 0), turned)


def test_rotation_brings_black_corners() -> None:
    white = np.full((1, 32, 32), 255, np.uint8)
    result = Acquisition(rotation=45).apply(white, 0)[0]
    assert result[0, 0] == result[-1, -1] == 0
    assert result[16, 16] == 255


def test_collimation_blackens_its_fraction_even_where_the_image_is_brightened() -> None:
    white = np.full((1, 40, 40), 255, np.uint8)
    result = Acquisition(collimation=0.2, brightness=0.3, noise=0.1).apply(white, 0)[0]
    # A fifth of 40 pixels is 8: 4 on each side stay black.
    assert (result[:4] == 0).all()
    assert (result[:, -4:] == 0).all()
    assert (result[4:-4, 4:-4] > 0).all()


def test_feature_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="leave acquisition_shift out"):
        Acquisition(contrast=2).apply(np.zeros((3, 5), np.float32), 0)
    with pytest.raises(DataError, match="not float32"):
        Acquisition().apply(np.zeros((3, 5, 5), np.float32), 0)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"contrast": 0.0}, {"noise": -0.1}, {"collimation": 1.1}, {"brightness": -2.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Acquisition(**wrong)


def test_a_drawn_habit_grows_with_its_strength() -> None:
    assert draw_acquisition(0, seed=5) == Acquisition()
    mild, strong = draw_acquisition(0.5, seed=5), draw_acquisition(1, seed=5)
    assert strong == draw_acquisition(1, seed=5)
    assert strong != draw_acquisition(1, seed=6)
    for name in ("brightness", "blur", "noise", "rotation", "collimation"):
        assert getattr(mild, name) == pytest.approx(getattr(strong, name) / 2)
    assert mild.contrast == pytest.approx(strong.contrast**0.5)


def test_every_drawn_habit_lies_in_its_stated_range() -> None:
    habits = [draw_acquisition(1, seed=seed) for seed in range(100)]
    most = {"brightness": 0.15, "blur": 0.015, "noise": 0.06, "rotation": 8, "collimation": 0.12}
    for name, bound in most.items():
        values = np.array([getattr(habit, name) for habit in habits])
        assert 0.8 * bound < abs(values).max() <= bound  # and the range is used
    assert all(2 / 3 <= habit.contrast <= 1.5 for habit in habits)


@pytest.mark.slow
def test_a_thousand_images_at_once() -> None:
    images = np.random.default_rng(0).integers(0, 255, (1000, 64, 64), dtype=np.uint8)
    start = perf_counter()
    result = ALL_AT_ONCE.apply(images, 0)
    seconds = perf_counter() - start  # printed, not asserted: machines differ
    sys.stdout.write(f"\nacquisition of 1,000 images of 64 pixels: {seconds:.2f} s\n")
    assert result.shape == images.shape
