"""Reading one image: every kind of file gives the gray values that a viewer would show."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from concilium.data.images import ImageForm, bombs_refused, prepare_array, read_image
from concilium.foundation.errors import DataError, InputError

GRAY = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
AS_IS = ImageForm(size=8)


def saved(folder: Path, image: Image.Image, name: str = "a.png", **options: object) -> Path:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    return folder / name


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return (
        signature + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_an_8_bit_gray_png_of_the_right_size_is_read_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(read_image(saved(tmp_path, Image.fromarray(GRAY)), AS_IS), GRAY)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_in_any_8_bit_mode_gives_the_same_pixels(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, Image.fromarray(GRAY).convert(mode))
    assert np.array_equal(read_image(path, AS_IS), GRAY)


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(GRAY > 127))
    assert np.array_equal(read_image(path, AS_IS), np.where(GRAY > 127, 255, 0))


def test_a_palette_is_looked_up_and_its_transparent_colour_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(np.tile(np.array([0, 1], np.uint8), (8, 4)))
    image = image.convert("P")
    image.putpalette([200, 200, 200, 90, 90, 90])
    assert read_image(saved(tmp_path, image), AS_IS)[0, :2].tolist() == [200, 90]
    path = saved(tmp_path, image, transparency=0)
    assert read_image(path, AS_IS)[0, :2].tolist() == [0, 90]


def test_alpha_is_composited_on_black(tmp_path: Path) -> None:
    # Half-transparent white over black is mid-gray; fully transparent white is black.
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[:4, :, 3] = 128
    pixels[4:, :, 3] = 0
    read = read_image(saved(tmp_path, Image.fromarray(pixels)), AS_IS)
    assert read[0, 0] == 128
    assert read[7, 0] == 0


def test_colour_is_luminance(tmp_path: Path) -> None:
    # ITU-R 601: 0.299 red + 0.587 green + 0.114 blue; green 255 is 149.7.
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 1] = 255
    assert read_image(saved(tmp_path, Image.fromarray(pixels)), AS_IS)[0, 0] == 150


def test_a_jpeg_is_read_in_gray_and_colour(tmp_path: Path) -> None:
    # A smooth image survives JPEG to within a few gray values.
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    for mode in ("L", "RGB"):
        image = Image.fromarray(smooth).convert(mode)
        read = read_image(saved(tmp_path, image, "a.jpg", quality=95), ImageForm(size=64))
        assert np.abs(read.astype(int) - smooth).max() <= 4


def test_16_bit_does_not_depend_on_how_many_bits_a_hospital_uses(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    twelve = saved(tmp_path, Image.fromarray(values), "12.png")
    sixteen = saved(tmp_path, Image.fromarray(values * 16), "16.png")
    form = ImageForm(size=64)
    assert np.array_equal(read_image(twelve, form), read_image(sixteen, form))
    assert read_image(twelve, form).min() == 0
    assert read_image(twelve, form).max() == 255


def test_the_full_window_maps_the_whole_range(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 7], [257 * 100, 65535]], np.uint16)  # 257 · v is v in 8 bits
    path = saved(tmp_path, Image.fromarray(values))
    form = ImageForm(size=2, window="full")
    assert read_image(path, form).tolist() == [[0, 7], [100, 255]]


def test_a_constant_16_bit_image_is_black_not_an_error() -> None:
    assert not prepare_array(np.full((4, 4), 900, np.uint16), ImageForm(size=4)).any()


def test_rows_are_rows(tmp_path: Path) -> None:
    # The upper half is white: whatever is done to make it square, white stays above black.
    wide = np.zeros((40, 80), np.uint8)
    wide[:20] = 255
    path = saved(tmp_path, Image.fromarray(wide))
    for resize in ("crop", "stretch"):
        read = read_image(path, ImageForm(size=8, resize=resize))  # type: ignore[arg-type]
        assert read[:4].min() == 255
        assert read[4:].max() == 0


def test_crop_keeps_the_centre_and_pad_keeps_everything() -> None:
    tall = np.zeros((12, 4), np.uint8)
    tall[4:8] = 100
    tall[0] = 200
    assert (prepare_array(tall, ImageForm(size=4, resize="crop")) == 100).all()
    padded = prepare_array(tall, ImageForm(size=12, resize="pad"))
    assert np.array_equal(padded[:, 4:8], tall)
    assert not padded[:, :4].any()
    assert not padded[:, 8:].any()


@pytest.mark.parametrize(("factor", "size"), [(1, 5), (2, 8), (3, 5), (5, 1), (16, 4)])
def test_reducing_by_a_whole_factor_averages_blocks(factor: int, size: int) -> None:
    side = factor * size
    pixels = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    means = pixels.reshape(size, factor, size, factor).mean(axis=(1, 3))
    reduced = prepare_array(pixels, ImageForm(size=size))
    # Two passes (rows, then columns), each rounded to whole gray values.
    assert np.abs(reduced - means).max() <= 1.0


def test_enlarging_keeps_the_range() -> None:
    large = prepare_array(GRAY, ImageForm(size=20))
    assert large.shape == (20, 20)
    assert GRAY.min() <= large.min() and large.max() <= GRAY.max()


def test_colour_arrays_are_gray_like_colour_files(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(colour))
    assert np.array_equal(prepare_array(colour, AS_IS), read_image(path, AS_IS))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_that_is_not_a_number_is_refused(bad: float) -> None:
    array = np.ones((4, 4), np.float32)
    array[1, 2] = bad
    with pytest.raises(DataError, match="1 NaN or infinite pixels"):
        prepare_array(array, ImageForm(size=4))


def test_floats_outside_0_to_1_are_refused_with_the_full_window() -> None:
    with pytest.raises(DataError, match=r"outside 0\.\.1; set window"):
        prepare_array(np.full((4, 4), 1.5), ImageForm(size=4, window="full"))


def refused(path: Path) -> str:
    with bombs_refused(), pytest.raises(DataError) as caught:
        read_image(path, AS_IS)
    return str(caught.value)


def test_what_cannot_be_read_is_refused_with_a_remedy(tmp_path: Path) -> None:
    whole = saved(tmp_path, Image.fromarray(np.repeat(GRAY, 50, axis=0)), "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "bomb.png").write_bytes(png_header(20_000, 20_000))
    (tmp_path / "warned.png").write_bytes(png_header(9_500, 9_500))
    assert "is truncated; copy it again" in refused(tmp_path / "half.png")
    assert "is not a PNG or JPG" in refused(tmp_path / "text.png")
    assert "is empty" in refused(tmp_path / "empty.png")
    assert "is not there" in refused(tmp_path / "missing.png")
    assert "decompression bomb" in refused(tmp_path / "bomb.png")
    assert "decompression bomb" in refused(tmp_path / "warned.png"), "Pillow only warns of this one"


def test_a_gif_is_refused_though_pillow_can_read_it(tmp_path: Path) -> None:
    assert "is not a PNG or JPG" in refused(saved(tmp_path, Image.fromarray(GRAY), "a.gif"))


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_to_a_file_gives_another_error(tmp_path: Path, seed: int) -> None:
    path = saved(tmp_path, Image.fromarray(GRAY))
    whole = path.read_bytes()
    generator = np.random.default_rng(seed)
    for _ in range(25):
        start = int(generator.integers(len(whole)))
        damage = generator.bytes(int(generator.integers(1, 20)))
        path.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
        try:
            assert read_image(path, AS_IS).shape == (8, 8)
        except DataError as error:
            assert error.problems[0].remedy


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="image_size=0"):
        ImageForm(size=0)
    with pytest.raises(InputError, match="did you mean 'crop'"):
        ImageForm(resize="corp")  # type: ignore[arg-type]
