"""Reading photos: every format and colour mode that Pillow can be brought to write, and upright always."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image, ImageCms
from profiles import ADOBE_RGB, encode_srgb, grey_profile, in_srgb, matrix_profile

from relatent.core.errors import UnreadablePhotoError
from relatent.core.images import FORMATS, Photo, photo_of, read_photo
from relatent.core.images.deep import encode_deep_png

ORIENTATION, MAKE = 274, 271
pillow_heif.register_heif_opener()  # these tests write HEIC themselves

RAMP = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)


def gradient(height: int = 16, width: int = 24) -> np.ndarray:
    """uint8 [H, W, 3]: red grows to the right, green downwards, blue marks the top left corner."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 250, width)
    picture[..., 1] = np.linspace(0, 250, height)[:, None]
    picture[: height // 2, : width // 2, 2] = 200
    return picture


def saved(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def worst(photo: Photo, expected: np.ndarray) -> int:
    return int(np.abs(photo.pixels.astype(int) - expected.astype(int)).max())


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG of any depth and colour type; ``extra`` chunks come before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --- plain reading ---------------------------------------------------------------------------------------------------


def test_a_path_a_string_and_bytes_read_alike(tmp_path):
    path = tmp_path / "me.png"
    path.write_bytes(saved(Image.fromarray(gradient()), format="PNG"))
    by_path, by_text, by_bytes = read_photo(path), read_photo(str(path)), read_photo(path.read_bytes(), "me")
    for photo in (by_path, by_text, by_bytes):
        assert np.array_equal(photo.pixels, gradient())
        assert (photo.note, photo.exif, photo.icc_profile) == ("", None, None)
    assert (by_path.name, by_text.name, by_bytes.name) == (str(path), str(path), "me")


def test_pixels_can_be_written_and_given_to_torch():
    pixels = read_photo(saved(Image.fromarray(gradient()), format="PNG")).pixels
    pixels[0, 0] = 9
    assert torch.from_numpy(pixels).dtype == torch.uint8  # warns, and so fails, if the array is read-only


def test_pictures_taller_than_a_strip_are_whole():
    tall = np.random.default_rng(0).integers(0, 256, (777, 9, 3), np.uint8)
    assert np.array_equal(read_photo(saved(Image.fromarray(tall), format="PNG")).pixels, tall)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"format": "PNG"}, 0),
        ({"format": "BMP"}, 0),
        ({"format": "TIFF"}, 0),
        ({"format": "TIFF", "compression": "tiff_lzw"}, 0),
        ({"format": "TIFF", "compression": "jpeg", "quality": 95}, 4),
        ({"format": "PPM"}, 0),
        ({"format": "TGA"}, 0),
        ({"format": "WEBP", "lossless": True}, 0),
        ({"format": "WEBP", "quality": 95}, 4),
        ({"format": "GIF"}, 8),
        ({"format": "JPEG", "quality": 95}, 4),
        ({"format": "JPEG", "quality": 95, "progressive": True}, 4),
        ({"format": "AVIF", "quality": 95}, 4),
        ({"format": "HEIF", "quality": 95}, 4),
        ({"format": "MPO", "quality": 95}, 4),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_every_format(options, tolerance):
    if options["format"] not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {options['format']}")
    photo = read_photo(saved(Image.fromarray(gradient()), **options))
    assert photo.pixels.shape == (16, 24, 3)
    assert np.abs(photo.pixels.astype(int) - gradient()).mean() <= tolerance  # of 255
    assert photo.note == ""


def test_the_formats_are_ones_that_pillow_knows_and_decodes_itself():
    Image.init()
    assert set(FORMATS) - {"MPO"} <= set(Image.OPEN)  # JPEG opens MPO
    assert not {"EPS", "WMF", "FITS", "MPEG", "HDF5", "GRIB", "BUFR"} & set(FORMATS)


def test_the_second_picture_of_an_mpo_is_no_animation():
    first, second = Image.fromarray(gradient()), Image.new("RGB", (24, 16))
    data = saved(first, format="MPO", save_all=True, append_images=[second], quality=95, subsampling=0)
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    photo = read_photo(data)
    assert worst(photo, gradient()) <= 12
    assert photo.note == ""


CASES = Path(__file__).parents[5] / "shared" / "cases"


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "jpegnamed.heic"])
@pytest.mark.skipif(not CASES.is_dir(), reason="the pictures are not here")
def test_photos_of_telephones(name):
    assert read_photo(CASES / name).pixels.shape == (512, 512, 3)


def test_a_jpeg_under_a_heic_name(tmp_path):
    path = tmp_path / "me.heic"
    path.write_bytes(saved(Image.fromarray(gradient()), format="JPEG", quality=95))
    assert np.abs(read_photo(path).pixels.astype(int) - gradient()).mean() <= 4


def test_heic_without_its_reader_says_what_to_install(monkeypatch):
    data = saved(Image.fromarray(gradient()), format="HEIF")
    monkeypatch.setattr(Image, "OPEN", {name: entry for name, entry in Image.OPEN.items() if name != "HEIF"})
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # an import of it now fails
    with pytest.raises(UnreadablePhotoError, match="pip install pillow-heif"):
        read_photo(data)


def test_a_heif_file_of_several_pictures_says_which_is_used(tmp_path):
    heif = pillow_heif.from_pillow(Image.fromarray(gradient()))
    heif.add_from_pillow(Image.new("RGB", (40, 40)))
    heif.save(tmp_path / "burst.heic", quality=95, primary_index=0)
    photo = read_photo(tmp_path / "burst.heic", "burst.heic")
    assert photo.pixels.shape == (16, 24, 3)
    assert photo.note == "burst.heic has 2 frames; the main one is used."


# --- depths and colours ----------------------------------------------------------------------------------------------


def rows16(values: np.ndarray) -> bytes:
    """uint16 [H, ...] as the unfiltered rows of a PNG."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


def test_grey_png_of_16_bits():
    values = RAMP.astype(np.uint16) * 257
    assert worst(read_photo(png(16, 16, 16, 0, rows16(values))), np.repeat(RAMP[..., None], 3, 2)) == 0


def test_colour_png_of_16_bits():
    values = gradient().astype(np.uint16) * 257
    assert worst(read_photo(png(24, 16, 16, 2, rows16(values))), gradient()) == 0


def test_grey_png_of_16_bits_with_alpha():
    values = np.stack([RAMP.astype(np.uint16) * 257, np.full((16, 16), 65535, np.uint16)], axis=-1)
    assert worst(read_photo(png(16, 16, 16, 4, rows16(values))), np.repeat(RAMP[..., None], 3, 2)) == 0


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_grey_tiff_of_more_bits(mode):
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    picture = Image.frombytes(mode, (16, 16), (RAMP.astype(np.uint32) * 257).astype(kind).tobytes())
    photo = read_photo(saved(picture, format="TIFF"))
    assert worst(photo, np.repeat(RAMP[..., None], 3, 2)) == 0


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_float_tiff(top):
    picture = Image.fromarray(RAMP.astype(np.float32) / 255 * top)
    assert worst(read_photo(saved(picture, format="TIFF")), np.repeat(RAMP[..., None], 3, 2)) == 0


def test_float_tiff_with_holes():
    values = RAMP.astype(np.float32) / 255
    values[0, :3] = (np.nan, np.inf, -np.inf)
    photo = read_photo(saved(Image.fromarray(values), format="TIFF"))
    assert photo.pixels[0, 0, 0] == 0
    assert photo.pixels[0, 1, 0] == 255
    assert photo.pixels[0, 2, 0] == 0
    assert np.array_equal(photo.pixels[1:, :, 0], RAMP[1:])


def test_one_bit():
    board = np.indices((16, 16)).sum(0) % 2 == 0
    photo = read_photo(saved(Image.fromarray(board), format="PNG"))
    assert np.array_equal(photo.pixels[..., 0], board * np.uint8(255))


def test_grey_jpeg():
    photo = read_photo(saved(Image.fromarray(RAMP), format="JPEG", quality=100))
    assert worst(photo, np.repeat(RAMP[..., None], 3, 2)) <= 2


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_put_on_white(form):
    layers = np.zeros((16, 16, 4), np.uint8)
    layers[..., 0] = 200
    layers[..., 3] = 255
    layers[:, 4:8, 3] = 0
    layers[:, 8:, 3] = 51  # a fifth: 200 -> 244, 0 -> 204
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    pixels = read_photo(saved(Image.fromarray(layers), format=form, **options)).pixels
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, 4].tolist() == [255, 255, 255]
    assert pixels[0, 8].tolist() == [244, 204, 204]


def test_grey_with_alpha_is_put_on_white():
    layers = np.zeros((16, 16, 2), np.uint8)
    layers[:, 8:, 1] = 255
    pixels = read_photo(saved(Image.fromarray(layers, "LA"), format="PNG")).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 8].tolist() == [0, 0, 0]


def palette_picture() -> Image.Image:
    picture = Image.new("P", (16, 16), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (8, 0, 16, 16))
    return picture


def test_palette():
    pixels = read_photo(saved(palette_picture(), format="PNG")).pixels
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 8].tolist() == [0, 0, 255]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00", b"\xff\x80"])
def test_palette_with_transparency(transparency):
    pixels = read_photo(saved(palette_picture(), format="PNG", transparency=transparency)).pixels
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 8].tolist() == ([127, 127, 255] if transparency == b"\xff\x80" else [255, 255, 255])


def test_gif_with_transparency():
    pixels = read_photo(saved(palette_picture(), format="GIF", transparency=1)).pixels
    assert pixels[0, 8].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 0)), ("L", 0)])
def test_one_transparent_colour(mode, colour):
    picture = Image.new(mode, (16, 16), colour)
    picture.putpixel((0, 0), (0, 0, 9) if mode == "RGB" else 9)
    pixels = read_photo(saved(picture, format="PNG", transparency=colour)).pixels
    assert pixels[5, 5].tolist() == [255, 255, 255]
    assert pixels[0, 0, 2] == 9


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_nearly_right(form):
    inks = {(0, 0, 0, 0): (255, 255, 255), (0, 255, 255, 0): (255, 0, 0), (255, 0, 255, 0): (0, 255, 0)}
    inks |= {(255, 255, 0, 0): (0, 0, 255), (0, 0, 0, 255): (0, 0, 0), (0, 0, 0, 128): (127, 127, 127)}
    for ink, colour in inks.items():
        photo = read_photo(saved(Image.new("CMYK", (16, 16), ink), format=form))
        assert worst(photo, np.full((16, 16, 3), colour)) <= 4, ink


def test_cmyk_follows_its_own_profile():
    # A made-up press whose black ink prints Lab (53.6, 0, 0), a middle grey: sRGB 128, where Pillow's formula says 0.
    profile = cmyk_profile(black_ink=(137, 128, 128))
    picture = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    photo = read_photo(saved(picture, format="JPEG", icc_profile=profile))
    assert worst(photo, np.full((16, 16, 3), 128)) <= 6
    assert photo.icc_profile is None  # it describes CMYK, and the pixels are RGB now


def cmyk_profile(black_ink: tuple[int, int, int]) -> bytes:
    """The smallest CMYK profile: 2 x 2 x 2 x 2 colours in Lab; all inks together are black, the others invisible."""
    paper, all_inks = (255, 128, 128), (0, 128, 128)
    corners = [paper, black_ink] * 7 + [paper, all_inks]  # the last channel, K, varies fastest
    table = bytes(value for colour in corners for value in colour)
    matrix = struct.pack(">9I", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    straight = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + straight * 4 + table + straight * 3
    lut += bytes(-len(lut) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2) + b"wtpt" + struct.pack(">II", start, len(white))
    tags += b"A2B0" + struct.pack(">II", start + len(white), len(lut))
    head = struct.pack(">I4sI4s4s4s", start + len(white) + len(lut), b"none", 0x02100000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + tags + white + lut


def test_lab_tiff():
    picture = Image.new("LAB", (16, 16), (137, 128, 128))  # a and b are stored with 128 added
    assert worst(read_photo(saved(picture, format="TIFF")), np.full((16, 16, 3), 128)) <= 2


# --- animations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_is_used_and_the_note_says_so(form, tmp_path):
    if form not in Image.SAVE_ALL:
        pytest.skip(f"this Pillow cannot write animated {form}")
    colours = ["red", "lime", "blue"]
    frames = [Image.new("RGB", (16, 16), colour) for colour in colours]
    path = tmp_path / f"moving.{form.lower()}"
    frames[0].save(path, format=form, save_all=True, append_images=frames[1:])
    photo = read_photo(path)
    assert worst(photo, np.full((16, 16, 3), (255, 0, 0))) <= 8
    assert photo.note == f"{path} has 3 frames; the first one is used."


def test_a_damaged_later_frame_does_not_matter(tmp_path):
    frames = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32), np.uint8)) for i in range(3)]
    data = saved(frames[0], format="GIF", save_all=True, append_images=frames[1:])
    photo = read_photo(data[: len(data) * 2 // 3])
    assert "frames; the first one is used." in photo.note
    assert np.array_equal(photo.pixels[..., 0], np.asarray(frames[0]))


# --- EXIF and colour profiles ----------------------------------------------------------------------------------------


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores ``upright``, read off the standard: which side of the scene row 0 and column 0 are."""
    turned = {
        1: lambda u: u,  # top, left
        2: lambda u: u[:, ::-1],  # top, right
        3: lambda u: u[::-1, ::-1],  # bottom, right
        4: lambda u: u[::-1],  # bottom, left
        5: lambda u: u.swapaxes(0, 1),  # left, top
        6: lambda u: u[:, ::-1].swapaxes(0, 1),  # right, top
        7: lambda u: u[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: lambda u: u[::-1].swapaxes(0, 1),  # left, bottom
    }
    return np.ascontiguousarray(turned[orientation](upright))


def exif_block(orientation: int, *, date: bool = True) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "Relatent"
    if date:
        exif.get_ifd(0x8769)[0x9003] = "2020:02:20 20:20:20"
    return exif.tobytes()


def tags(exif: bytes | None) -> dict[int, object]:
    assert exif is not None
    block = Image.Exif()
    block.load(exif)
    return {**block, **block.get_ifd(0x8769)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"format": "JPEG", "quality": 95, "subsampling": 0}, 12),
        ({"format": "PNG"}, 0),
        ({"format": "WEBP", "lossless": True}, 0),
        ({"format": "TIFF"}, 0),
        ({"format": "TIFF", "compression": "tiff_lzw"}, 0),
        ({"format": "AVIF", "quality": 95, "subsampling": "4:4:4"}, 30),
        ({"format": "HEIF", "quality": 95, "chroma": 444}, 30),
    ],
    ids=["jpeg", "png", "webp", "tiff", "tiff-lzw", "avif", "heif"],
)
def test_every_orientation_comes_out_upright(orientation, options, tolerance):
    if options["format"] not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {options['format']}")
    picture = Image.fromarray(stored(gradient(32, 48), orientation))
    exif = exif_block(orientation, date="compression" not in options)  # Pillow cannot write it into such a TIFF
    photo = read_photo(saved(picture, exif=exif, **options))
    assert photo.pixels.shape == (32, 48, 3)
    assert worst(photo, gradient(32, 48)) <= tolerance
    assert ORIENTATION not in tags(photo.exif)
    assert tags(photo.exif)[MAKE] == "Relatent"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_can_be_put_into_another_file(form):
    photo = read_photo(saved(Image.fromarray(gradient()), format=form, exif=exif_block(6)))
    again = read_photo(saved(Image.fromarray(photo.pixels), format="JPEG", exif=photo.exif))
    assert tags(again.exif)[0x9003] == "2020:02:20 20:20:20"
    assert again.pixels.shape == (24, 16, 3)


def test_the_layout_of_a_tiff_is_not_carried_into_another_file():
    photo = read_photo(saved(Image.fromarray(gradient()), format="TIFF", exif=exif_block(1)))
    assert tags(photo.exif).keys() == {MAKE, 0x8769, 0x9003}


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_unknown_orientation_is_taken_for_none(value):
    photo = read_photo(saved(Image.fromarray(gradient()), format="PNG", exif=exif_block(value)))
    assert np.array_equal(photo.pixels, gradient())
    assert ORIENTATION not in tags(photo.exif)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_colour_profile_is_kept(form):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = read_photo(saved(Image.fromarray(gradient()), format=form, icc_profile=profile))
    assert photo.icc_profile == profile


def test_a_profile_that_does_not_fit_the_colours_is_dropped():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_photo(saved(Image.fromarray(RAMP), format="PNG", icc_profile=profile)).icc_profile is None
    grey = profile[:16] + b"GRAY" + profile[20:]  # a header alone makes no profile of grey, and does no harm
    photo = read_photo(saved(Image.fromarray(RAMP), format="PNG", icc_profile=grey))
    assert np.array_equal(photo.pixels, np.repeat(RAMP[..., None], 3, 2))
    photo = read_photo(saved(Image.fromarray(gradient()), format="PNG", icc_profile=grey))
    assert photo.icc_profile is None


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_what_pixels_cannot_say_is_kept_as_it_was(mode):
    picture = palette_picture() if mode == "P" else Image.fromarray(RAMP).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray((RAMP.astype(np.uint16) * 257 + 3 * (RAMP < 255)).astype(np.uint16))
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(RAMP[::-1]))
    photo = read_photo(saved(picture, format="PNG"))
    if mode == "P":
        assert photo.original is None
        return
    own = np.asarray(picture.convert("L") if mode == "1" else picture)
    assert np.array_equal(photo.original, own.reshape(*own.shape[:2], -1))
    assert photo.original.dtype == own.dtype
    assert np.array_equal(photo.changed(photo.pixels.copy()), photo.original)


def adobe_rgb_picture() -> tuple[Image.Image, bytes]:
    return Image.fromarray(gradient(32, 48) // 2 + 60), matrix_profile(ADOBE_RGB, 2.2)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_other_colours_become_srgb(form):
    picture, profile = adobe_rgb_picture()
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(form, {"quality": 95})
    photo = read_photo(saved(picture, format=form, icc_profile=profile, **({} if form in ("PNG", "TIFF") else options)))
    assert photo.icc_profile == profile
    expected = in_srgb(photo.original, ADOBE_RGB, 2.2)
    inside = ((expected > 1) & (expected < 254)).all(axis=2)  # of what sRGB can show
    assert inside.mean() > 0.3
    assert np.abs(photo.pixels - expected)[inside].max() <= 2
    assert np.abs(photo.original - expected)[inside].max() > 8


def test_a_grey_profile_counts():
    photo = read_photo(saved(Image.fromarray(RAMP), format="PNG", icc_profile=grey_profile(1.0)))
    expected = encode_srgb(RAMP / 255.0)
    assert np.abs(photo.pixels - expected[..., None]).max() <= 1
    assert np.array_equal(photo.original[..., 0], RAMP)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bits_are_kept(channels, orientation):
    levels = np.random.default_rng(0).integers(0, 65536, (16, 24, channels), np.uint16)
    described = Image.new("RGB", (1, 1))
    data = encode_deep_png(stored(levels, orientation), saved(described, format="PNG", exif=exif_block(orientation)))
    photo = read_photo(data)
    shown = levels[..., [0, 0, 0, 1]] if channels == 2 else levels  # Pillow makes colours of such grey
    assert np.array_equal(photo.original, shown)
    assert photo.original.dtype == np.uint16


@pytest.mark.parametrize("compression", [1, 5, 8])  # none, LZW, deflate
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_of_a_tiff_are_kept(channels, compression, tmp_path):
    levels = np.random.default_rng(0).integers(0, 65536, (40, 24, channels), np.uint16)
    order = [2, 1, 0, 3][:channels]
    cv2.imwrite(str(tmp_path / "deep.tif"), levels[..., order], [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    photo = read_photo(tmp_path / "deep.tif")
    assert np.array_equal(photo.original, levels)


def test_a_pillow_image_is_read_as_its_file_would_be():
    picture, profile = adobe_rgb_picture()
    data = saved(picture, format="PNG", icc_profile=profile, exif=exif_block(6))
    with Image.open(io.BytesIO(data)) as opened:
        photo = photo_of(opened)
        assert opened.size == (48, 32)  # the caller's picture is left alone
    expected = read_photo(data)
    assert np.array_equal(photo.pixels, expected.pixels)
    assert np.array_equal(photo.original, expected.original)
    assert (photo.icc_profile, photo.exif) == (expected.icc_profile, expected.exif)


BROKEN_EXIF = [
    b"Exif\0\0",
    b"Exif\0\0garbage that is no TIFF",
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x01\0\0\0" * 3,
    b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\x7f\xff\xff\xff\0\0\0\0",
    b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x01six\0\0\0\0\0",
    b"\xff" * 300,
]


@pytest.mark.parametrize("exif", BROKEN_EXIF, ids=range(len(BROKEN_EXIF)))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_matter(exif, form):
    options = {"lossless": True} if form == "WEBP" else {}
    photo = read_photo(saved(Image.fromarray(gradient()), format=form, exif=exif, **options))
    assert photo.pixels.shape == (16, 24, 3)
    if form != "JPEG":
        assert np.array_equal(photo.pixels, gradient())
    if photo.exif:  # then it is of use
        saved(Image.fromarray(gradient()), format="JPEG", exif=photo.exif)


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 200, b"\xff" * 3000])
@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("TIFF", "CMYK")])
def test_a_broken_profile_does_not_matter(profile, form, mode):
    photo = read_photo(saved(Image.new(mode, (16, 16)), format=form, icc_profile=profile))
    assert photo.icc_profile is None
    assert len(np.unique(photo.pixels)) == 1


def test_a_cmyk_profile_that_only_starts_well_does_not_matter():
    profile = cmyk_profile(black_ink=(137, 128, 128))[:140]
    photo = read_photo(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), format="TIFF", icc_profile=profile))
    assert photo.pixels[0, 0].tolist() == [255, 0, 0]


# --- warnings and memory ---------------------------------------------------------------------------------------------


def test_no_warning_leaks_and_the_filters_stay():
    large = png(10_000, 10_000, 1, 0, b"\0")  # claims 100 megapixels, of which Pillow warns
    odd = saved(Image.fromarray(gradient()), format="JPEG", exif=BROKEN_EXIF[3])
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read_photo(odd).pixels.shape == (16, 24, 3)
        with pytest.raises(UnreadablePhotoError):
            read_photo(large)
    assert [str(warning.message) for warning in caught] == []
    assert warnings.filters == before


def test_threads_leave_the_warning_filters_as_they_were():
    data = saved(Image.fromarray(gradient()), format="PNG")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_photo(data) for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_100_megapixels_take_less_than_950_megabytes(tmp_path):
    """With torch, which takes some 540 MB by its import, that is less than 1.5 GB."""
    path = tmp_path / "large.jpg"
    picture = Image.new("RGB", (10_000, 10_000), (200, 100, 50))
    picture.save(path, exif=exif_block(3))  # having to turn it is the worst case
    code = """if True:
        import sys
        from relatent.core.images import read_photo

        def peak():
            return [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0]

        before = peak()
        pixels = read_photo(sys.argv[1]).pixels
        assert pixels.shape == (10_000, 10_000, 3) and abs(int(pixels[9999, 9999, 0]) - 200) < 4
        print(peak() - before)
    """
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code, path], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 950_000  # kB
