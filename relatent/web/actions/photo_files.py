"""Finished photos as files, in the format in which they came."""

from __future__ import annotations

from pathlib import Path

from relatent.core.provenance import MarkedImage

PNG_LEVEL = 1  # of zlib: a photo of 12 megapixels takes seconds rather than half a minute, and 5 % more bytes
LOSSLESS = (".bmp", ".gif", ".tif", ".tiff", ".ppm", ".tga")


def photo_suffix(photo: Path | None) -> str:
    """Of a finished photo: its original's; PNG or JPEG, whichever is nearer, for formats that are not written."""
    suffix = ".png" if photo is None else photo.suffix.lower()
    if suffix in (".png", ".webp"):
        return suffix
    return ".png" if suffix in LOSSLESS else ".jpg"


def encoded_photo(picture: MarkedImage, suffix: str) -> bytes:
    """The bytes of a file with a suffix of :func:`photo_suffix`."""
    if suffix == ".png":
        return picture.encoded("PNG", compress_level=PNG_LEVEL)
    return picture.encoded({".jpg": "JPEG", ".webp": "WEBP"}[suffix])
