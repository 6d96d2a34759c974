"""Removes the place where a photo was taken from its metadata."""

from __future__ import annotations

import dataclasses
import re

from PIL import Image
from PIL.ExifTags import IFD

from relatent.core.images import Photo

ATTRIBUTE = re.compile(rb"""\s[\w.-]+:GPS\w*\s*=\s*("[^"]*"|'[^']*')""")
ELEMENT = re.compile(rb"<([\w.-]+:GPS\w*)(?:\s[^>]*)?(?:/>|>.*?</\1\s*>)", re.DOTALL)


def without_location(photo: Photo) -> Photo:
    """The photo without GPS tags in its EXIF block and its XMP packet; both are left out if they cannot be read."""
    return dataclasses.replace(photo, exif=_exif(photo.exif), xmp=_xmp(photo.xmp))


def has_location(photo: Photo) -> bool:
    """Whether the photo says where it was taken."""
    return _exif(photo.exif) != photo.exif or _xmp(photo.xmp) != photo.xmp


def _exif(block: bytes | None) -> bytes | None:
    if not block:
        return block
    exif = Image.Exif()
    try:
        exif.load(block)
        if IFD.GPSInfo not in exif:
            return block
        del exif[IFD.GPSInfo]
        return exif.tobytes()
    except Exception:  # Pillow raises many kinds for damaged blocks
        return None


def _xmp(packet: bytes | None) -> bytes | None:
    return packet if not packet else ELEMENT.sub(b"", ATTRIBUTE.sub(b"", packet))
