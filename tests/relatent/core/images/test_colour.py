"""Changes made in sRGB, back in a photo's own colours, channels and depth."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from profiles import ADOBE_RGB, DISPLAY_P3, grey_profile, in_srgb, matrix_profile

from relatent.core.images import Photo, photo_of, read_photo
from relatent.core.images.colour import conversion, is_grey, with_changes

RNG = np.random.default_rng(0)


def some_colours(count=2000):
    return RNG.integers(40, 200, (count, 3), np.uint8)


def test_srgb_written_by_anybody_needs_no_conversion():
    assert conversion(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), "RGB") is None
    assert conversion(matrix_profile(ADOBE_RGB, 2.2), "RGB") is not None


@pytest.mark.parametrize("profile", [b"", b"x" * 200, matrix_profile(ADOBE_RGB, 2.2)[:300], grey_profile(2.2)])
def test_profiles_of_no_use(profile):
    assert conversion(profile, "RGB") is None


@pytest.mark.parametrize(("primaries", "gamma"), [(ADOBE_RGB, 2.2), (DISPLAY_P3, 2.2), (DISPLAY_P3, 1.8)])
def test_there_and_back(primaries, gamma):
    convert = conversion(matrix_profile(primaries, gamma), "RGB")
    seen = some_colours()
    own = convert.from_srgb(seen)
    assert np.abs(in_srgb(own, primaries, gamma) - seen).max() < 4
    assert np.abs(in_srgb(own, primaries, gamma) - seen).mean() < 0.6


def test_a_small_change_of_a_colour_stays_one():
    convert = conversion(matrix_profile(ADOBE_RGB, 2.2), "RGB")
    seen = some_colours()
    change = convert.from_srgb(seen + 0.1) - convert.from_srgb(seen)
    assert np.abs(change).max() < 0.2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("managed", [False, True])
def test_where_nothing_was_changed_every_bit_stays(dtype, channels, managed):
    levels = RNG.integers(0, np.iinfo(dtype).max, (20, 30, channels), dtype, endpoint=True)
    before = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    after = before.copy()
    after[5:10, 5:10] = 255 - after[5:10, 5:10]
    profile = None
    if managed:
        profile = grey_profile(1.8) if channels < 3 else matrix_profile(DISPLAY_P3, 2.2)
    result = with_changes(levels, profile, before, after)
    assert (result.dtype, result.shape) == (levels.dtype, levels.shape)
    inside = np.zeros((20, 30), bool)
    inside[5:10, 5:10] = True
    assert np.array_equal(result[~inside], levels[~inside])
    assert (result[inside] != levels[inside]).any()
    if channels in (2, 4):
        assert np.array_equal(result[..., -1], levels[..., -1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_changed_photo_looks_as_its_srgb_form_was_changed(mode):
    pixels = RNG.integers(90, 160, (32, 32, 3), np.uint8)
    picture = Image.fromarray(pixels)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(RNG.integers(200, 256, (32, 32), np.uint8)))
    picture.info["icc_profile"] = matrix_profile(DISPLAY_P3, 2.2)
    photo = photo_of(picture)
    wanted = photo.pixels.copy()
    wanted[8:24, 8:24] = wanted[8:24, 8:24] + np.array([12, -9, 5])
    again = Image.fromarray(photo.changed(wanted))
    again.info["icc_profile"] = picture.info["icc_profile"]
    seen = photo_of(again).pixels.astype(int)
    assert np.abs(seen - wanted).max() <= 4
    assert np.abs(seen - wanted).mean() < 0.6


def exif_of(space, index=None):
    """EXIF data that name a colour space as cameras do."""
    exif = Image.Exif()
    exif[Base.Make] = "a camera"  # Pillow writes no EXIF data of an empty first directory
    exif.get_ifd(IFD.Exif)[0xA001] = space
    if index:
        exif.get_ifd(IFD.Exif)[IFD.Interop] = {1: index, 2: b"0100"}
    return exif


@pytest.mark.parametrize(("space", "index"), [(0xFFFF, "R03"), (2, None)])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_adobe_rgb_that_only_exif_names(space, index, suffix, tmp_path):
    pixels = np.ascontiguousarray(np.broadcast_to(np.uint8([90, 150, 60]), (40, 40, 3)))
    path = tmp_path / f"me.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif_of(space, index), lossless=True)
    photo = read_photo(path)
    wanted = in_srgb(pixels[:1, :1].astype(float), ADOBE_RGB, 563 / 256)
    assert np.abs(photo.pixels - wanted.clip(0, 255)).max() <= 1
    assert np.array_equal(photo.original, pixels)
    assert np.array_equal(photo.changed(photo.pixels.copy()), pixels)
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(photo.icc_profile))).strip()


@pytest.mark.parametrize(("space", "index"), [(1, "R98"), (0xFFFF, "R98"), (0xFFFF, None)])
def test_other_colour_spaces_of_exif_are_srgb(space, index, tmp_path):
    pixels = RNG.integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.png", exif=exif_of(space, index))
    photo = read_photo(tmp_path / "me.png")
    assert np.array_equal(photo.pixels, pixels)
    assert photo.icc_profile is None


def test_an_embedded_profile_counts_more_than_exif(tmp_path):
    own = matrix_profile(DISPLAY_P3, 2.2)
    Image.new("RGB", (20, 20), (90, 150, 60)).save(tmp_path / "me.png", exif=exif_of(2), icc_profile=own)
    assert read_photo(tmp_path / "me.png").icc_profile == own


@pytest.mark.parametrize("noise", [0, 2])
def test_a_grey_photo_in_rgb_stays_grey(noise):
    grey = np.repeat(RNG.integers(10, 240, (40, 40, 1), np.uint8), 3, axis=2)
    grey[..., 0] += np.uint8(noise)  # as JPEG may leave it
    after = grey.copy()
    after[:9] = (200, 100, 50)
    result = Photo(grey, "grey").changed(after)
    assert is_grey(result)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert np.abs(result[:9].astype(float) - luma).max() <= 1 + noise


def test_one_coloured_pixel_makes_no_grey_photo():
    pixels = np.full((60, 60, 3), 90, np.uint8)
    assert is_grey(pixels)
    pixels[37, 41] = (90, 90, 120)
    assert not is_grey(pixels)


def test_what_shines_through_changes_as_it_was_seen_on_white():
    levels = np.full((9, 9, 4), 100, np.uint8)
    levels[..., 3] = 51  # a fifth
    levels[0, 0, 3] = 0
    photo = photo_of(Image.fromarray(levels))
    after = photo.pixels.copy()
    after -= 10
    result = photo.changed(after)
    assert (result[1:, 1:, :3] == 50).all()  # ten on white is fifty of a fifth
    assert (result[0, 0] == levels[0, 0]).all()  # nobody sees it


def test_16_bits_move_by_whole_8_bit_steps_and_keep_their_fractions():
    levels = RNG.integers(20_000, 40_000, (12, 12, 3), np.uint16)
    before = (levels >> 8).astype(np.uint8)
    after = before + np.uint8(7)
    assert np.array_equal(with_changes(levels, None, before, after), levels + np.uint16(7 * 257))
