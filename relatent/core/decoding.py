"""From whatever Pillow has opened to upright RGB pixels; the knowledge of odd file formats lives here.

Memory is counted: a 100-megapixel photo takes 400 MB inside Pillow, so no step holds it there twice.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.ExifTags import IFD, Base

from relatent.core.colour import Conversion, conversion, profile_space

IPTC_RESOURCE = 0x0404  # Photoshop's number of it
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"  # of JPEG's APP1 segment
STRIP_ROWS = 256  # rows converted at a time; small beside the picture, large beside the cost of a call

# A TIFF keeps its EXIF tags beside the tags of its own layout; only these mean something in another file.
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
    """Apply the EXIF orientation to ``picture`` in place; its EXIF block without the orientation, None if it has none.

    Damaged EXIF is no reason to refuse a readable picture: whatever of it cannot be understood is dropped.
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
    """EXIF's number of how the picture is stored; 1, upright, where it has none that can be understood."""
    try:
        return int(picture.getexif().get(Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # as in turn_upright
        return 1


def xmp_of(picture: Image.Image) -> bytes | None:
    """The XMP packet of ``picture``, unread; None if it has none."""
    segments = [data for name, data in getattr(picture, "applist", ()) if name == "APP1" and data.startswith(XMP_HEAD)]
    # Pillow 10 has a PNG's packet as text under its own name, and a JPEG's among the segments alone.
    packet = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    if packet is None and segments:
        packet = segments[0][len(XMP_HEAD) :]
    return packet.encode() if isinstance(packet, str) else packet if isinstance(packet, bytes) else None


def iptc_of(picture: Image.Image) -> bytes | None:
    """The IPTC record (caption, credit, copyright) in a JPEG's Photoshop segment, unread; None if it has none."""
    resources = picture.info.get("photoshop")
    record = resources.get(IPTC_RESOURCE) if isinstance(resources, dict) else None
    return record if isinstance(record, bytes) else None


@dataclass(frozen=True)
class Decoded:
    """What a picture shows.

    Attributes:
        pixels: uint8 [H, W, 3], sRGB; transparency is put on white.
        original: the picture's own pixels where they say more: uint8 or uint16 [H, W, C], grey, grey and alpha, RGB, or
            RGB and alpha, in the colours of ``profile``; None where ``pixels`` are all there is.
        profile: the picture's ICC profile if it is one of such colours; else None.
    """

    pixels: np.ndarray
    original: np.ndarray | None
    profile: bytes | None


def decoded(picture: Image.Image) -> Decoded:
    """Any Pillow image, loaded and upright."""
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
    """The picture in pieces of full width, each with the number of its first row."""
    for top in range(0, picture.height, STRIP_ROWS):
        yield top, picture.crop((0, top, picture.width, min(top + STRIP_ROWS, picture.height)))


def _layout_of_tiff(picture: Image.Image, tag: int) -> bool:
    return picture.format == "TIFF" and tag not in TIFF_TAGS_KEPT


def _plain_mode(picture: Image.Image) -> str:
    """Which of L, LA, RGB and RGBA holds all that a picture of 8 bits shows."""
    transparent = "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    grey = picture.mode in ("1", "L", "LA", "La")
    return ("L" if grey else "RGB") + ("A" if transparent else "")


def _plain(strip: Image.Image, mode: str) -> Image.Image:
    """8 bits of any mode as ``mode``, which is one of L, LA, RGB and RGBA."""
    if strip.mode == "La":  # Pillow knows no direct way
        strip = strip.convert("LA")
    if mode.endswith("A") and strip.mode != mode:
        strip = strip.convert("RGBA")  # it understands a transparent colour there
    return strip if strip.mode == mode else strip.convert(mode)


def _fitting_profile(picture: Image.Image, mode: str) -> bytes | None:
    """The picture's colour profile if it describes colours of ``mode``."""
    profile = picture.info.get("icc_profile")
    wanted = b"RGB " if mode.startswith("RGB") else b"GRAY"
    return profile if isinstance(profile, bytes) and profile_space(profile) == wanted else None


def _white(picture: Image.Image) -> float:
    """The value that means white in grey of 16 or 32 bits per pixel, integer or float."""
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
    """CMYK or LAB to RGB: by the file's own CMYK profile, else by Pillow's formula, which is nearly right."""
    try:
        if picture.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile_space(picture.info.get("icc_profile") or b"") == b"CMYK":
            source = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        else:
            return picture
        target = ImageCms.createProfile("sRGB")
        found = ImageCms.profileToProfile(picture, source, target, outputMode="RGB") or picture
        found.info.pop("icc_profile", None)  # ImageCms puts the target's there
        return found
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
