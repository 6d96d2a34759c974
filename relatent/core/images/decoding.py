"""Converts pictures that Pillow has opened to upright RGB pixels, and extracts their metadata.

A 100-megapixel photo takes 400 MB inside Pillow, so pictures are converted in strips rather than copied as a whole.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import IFD, Base

from relatent.core.images.colour import Conversion, conversion, profile_space

IPTC_RESOURCE = 0x0404  # Photoshop's number of it
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"  # of JPEG's APP1 segment
STRIP_ROWS = 256  # rows converted at a time

# A TIFF stores EXIF tags together with tags of its own layout; only these are valid in another file.
TIFF_TAGS_KEPT = frozenset(
    (
        Base.ImageDescription,
        Base.Make,
        Base.Model,
        Base.XResolution,
        Base.YResolution,
        Base.ResolutionUnit,
        Base.Software,
        Base.DateTime,
        Base.Artist,
        Base.HostComputer,
        Base.Copyright,
        IFD.Exif,
        IFD.GPSInfo,
    )
)


def turn_upright(picture: Image.Image) -> bytes | None:
    """Apply the EXIF orientation to ``picture`` in place; returns its EXIF block without it, or None if it has none.

    Damaged EXIF data do not make a picture unreadable: they are dropped.
    """
    try:
        ImageOps.exif_transpose(picture, in_place=True)
        exif = picture.getexif()
        unwanted = [tag for tag in exif if tag == Base.Orientation or _layout_of_tiff(picture, tag)]
        for tag in unwanted:
            del exif[tag]
        return exif.tobytes() if len(exif) else None
    except MemoryError:
        raise
    except Exception:  # Pillow's EXIF parser raises SyntaxError, struct.error, TypeError, AssertionError, ...
        return None


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) if there is none or it is damaged."""
    try:
        return int(picture.getexif().get(Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # as in turn_upright
        return 1


def xmp_of(picture: Image.Image) -> bytes | None:
    """The raw XMP packet of ``picture``; None if it has none."""
    segments = [data for name, data in getattr(picture, "applist", ()) if name == "APP1" and data.startswith(XMP_HEAD)]
    # Pillow 10 has the packet of a PNG as a text chunk, and that of a JPEG only among the segments.
    packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    if packet is None and segments:
        packet = segments[0][len(XMP_HEAD) :]
    return packet.encode() if isinstance(packet, str) else packet if isinstance(packet, bytes) else None


def iptc_of(picture: Image.Image) -> bytes | None:
    """The raw IPTC record (caption, credit, copyright) of a JPEG's Photoshop segment; None if it has none."""
    resources = picture.info.get("photoshop")
    record = resources.get(IPTC_RESOURCE) if isinstance(resources, dict) else None
    return record if isinstance(record, bytes) else None


@dataclass(frozen=True)
class Decoded:
    """The pixels of a picture.

    Attributes:
        pixels: uint8 [H, W, 3], sRGB, transparency composited on white.
        original: the picture's own pixels if they contain more: uint8 or uint16 [H, W, C], grey, grey and alpha, RGB,
            or RGB and alpha, in the colours of ``profile``; else None.
        profile: the picture's ICC profile if it fits ``original``; else None.
    """

    pixels: np.ndarray
    original: np.ndarray | None
    profile: bytes | None


def decoded(picture: Image.Image) -> Decoded:
    """The pixels of a Pillow image that is loaded and upright."""
    if picture.mode in ("CMYK", "LAB"):
        picture = _managed(picture)
    deep = picture.mode.startswith(("I", "F"))
    white = _white(picture) if deep else 255
    mode = "L" if deep else _plain_mode(picture)
    profile = _fitting_profile(picture, mode)
    convert = conversion(profile, "RGB" if mode.startswith("RGB") else "L") if profile else None
    pixels = np.empty((picture.height, picture.width, 3), dtype=np.uint8)
    original = None
    if mode != "RGB" or convert is not None:
        dtype = np.uint16 if picture.mode.startswith("I") else np.uint8
        original = np.empty((picture.height, picture.width, len(mode)), dtype)
    for top, strip in _strips(picture):
        eight_bits = _eight_bits(strip, white) if deep else _plain(strip, mode)
        rows = slice(top, top + strip.height)
        pixels[rows] = np.asarray(_on_white(eight_bits, convert))
        if original is not None:
            whole = np.asarray(strip).clip(0, 65535) if original.dtype == np.uint16 else np.asarray(eight_bits)
            original[rows] = whole.reshape(strip.height, strip.width, -1)
    return Decoded(pixels, original, profile)


def _strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture in horizontal strips, each with the number of its first row."""
    for top in range(0, picture.height, STRIP_ROWS):
        yield top, picture.crop((0, top, picture.width, min(top + STRIP_ROWS, picture.height)))


def _layout_of_tiff(picture: Image.Image, tag: int) -> bool:
    return picture.format == "TIFF" and tag not in TIFF_TAGS_KEPT


def _plain_mode(picture: Image.Image) -> str:
    """The simplest of L, LA, RGB and RGBA that represents a picture of 8 bits completely."""
    transparent = "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    grey = picture.mode in ("1", "L", "LA", "La")
    return ("L" if grey else "RGB") + ("A" if transparent else "")


def _plain(strip: Image.Image, mode: str) -> Image.Image:
    """Convert a picture of 8 bits to ``mode``, one of L, LA, RGB and RGBA."""
    if strip.mode == "La":  # Pillow has no direct conversion
        strip = strip.convert("LA")
    if mode.endswith("A") and strip.mode != mode:
        strip = strip.convert("RGBA")  # it understands a transparent colour there
    return strip if strip.mode == mode else strip.convert(mode)


def _fitting_profile(picture: Image.Image, mode: str) -> bytes | None:
    """The picture's colour profile if it fits ``mode``."""
    profile = picture.info.get("icc_profile")
    wanted = b"RGB " if mode.startswith("RGB") else b"GRAY"
    return profile if isinstance(profile, bytes) and profile_space(profile) == wanted else None


def _white(picture: Image.Image) -> float:
    """The value of white in grey pictures of 16 or 32 bits per pixel, integer or float."""
    if picture.mode.startswith("I"):
        return 65535  # such integers come from 16-bit files
    arrays = (np.asarray(strip) for _, strip in _strips(picture))
    brightest = max(float(values.max(initial=0, where=np.isfinite(values))) for values in arrays)
    return 1 if brightest <= 1 else 255  # floats are 0..1 or 0..255 by custom


def _eight_bits(strip: Image.Image, white: float) -> Image.Image:
    values = np.nan_to_num(np.array(strip, dtype=np.float32), copy=False)  # [H, W]
    np.clip(values, 0, white, out=values)
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8))


def _managed(picture: Image.Image) -> Image.Image:
    """CMYK or LAB to RGB by colour profile; CMYK without a profile is returned, for Pillow's approximate formula."""
    try:
        if picture.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile_space(picture.info.get("icc_profile") or b"") == b"CMYK":
            source = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        else:
            return picture
        target = ImageCms.createProfile("sRGB")
        rgb = ImageCms.profileToProfile(picture, source, target, outputMode="RGB") or picture
        rgb.info.pop("icc_profile", None)  # ImageCms puts the target's there
        return rgb
    except (ImageCms.PyCMSError, OSError, ImportError):  # a damaged profile, or a Pillow built without LittleCMS
        return picture


def _on_white(strip: Image.Image, convert: Conversion | None) -> Image.Image:
    """L, LA, RGB or RGBA to sRGB."""
    opacity = strip.getchannel("A") if strip.mode.endswith("A") else None
    colours = strip.convert(strip.mode.removesuffix("A"))
    colours = colours.convert("RGB") if convert is None else convert.to_srgb(colours)
    if opacity is None:
        return colours
    colours.putalpha(opacity)
    return Image.alpha_composite(Image.new("RGBA", strip.size, "white"), colours).convert("RGB")
