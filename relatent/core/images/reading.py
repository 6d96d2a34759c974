"""Reads picture files as upright sRGB, with what the file has beyond that."""

from __future__ import annotations

import dataclasses
import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from relatent.core.errors import UnreadablePhotoError
from relatent.core.images.adobe_rgb import adobe_rgb_profile, says_adobe_rgb
from relatent.core.images.colour import conversion, is_grey, with_changes
from relatent.core.images.decoding import decoded, iptc_of, orientation_of, turn_upright, xmp_of
from relatent.core.images.deep import is_deep, read_deep

# Formats that Pillow decodes by itself, and HEIF through pillow-heif; others, such as EPS, start external programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF", "TGA")
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".tga",
    )
)
MAX_PIXELS = 170_000_000  # allows 100-megapixel photos, but no decompression bombs of 40,000 x 40,000
MIN_SIDE = 8  # pixels; the resolution of the smallest generator

# Warning filters are global: without the lock, two threads that change them at once may leave them changed.
_filters_lock = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """The pixels and metadata of a picture file.

    Attributes:
        pixels: uint8 [H, W, 3], sRGB, upright, transparency composited on white.
        name: of the photo in messages.
        note: a remark for the user on how it was read; may be empty.
        exif: the file's EXIF block without its orientation; None if there is none, or it is damaged.
        icc_profile: the file's colour profile, or None; CMYK profiles fit neither ``original`` nor ``pixels``.
        xmp: the file's raw XMP packet, or None.
        iptc: a JPEG's raw IPTC record, or None.
        original: the file's own pixels if they contain more than ``pixels``, upright: uint8 or uint16 [H, W, C], grey,
            grey and alpha, RGB, or RGB and alpha, in the colours of ``icc_profile``; else None.
    """

    pixels: np.ndarray
    name: str
    note: str = ""
    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    original: np.ndarray | None = None

    def changed(self, pixels: np.ndarray) -> np.ndarray:
        """Apply changes to the photo's own pixels; returns an array like ``original``.

        A grey photo stays grey, transparency is kept, and unchanged pixels keep their 16 bits.

        Args:
            pixels: :attr:`pixels` with changes, uint8 [H, W, 3]; or :attr:`fine_pixels` with changes, float32.
        """
        if self.original is None and not is_grey(self.pixels):
            return pixels.copy()
        own, profile = (self.pixels, None) if self.original is None else (self.original, self.icc_profile)
        before = self.pixels if pixels.dtype == np.uint8 else self.fine_pixels
        return with_changes(own, profile, before, pixels)

    @cached_property
    def fine_pixels(self) -> np.ndarray:
        """The pixels to compute with: those of a photo with 16 bits per channel as float32 [H, W, 3] from 0 to 255, so
        that changes are not rounded to 8 bits; of others, :attr:`pixels`."""
        if self.original is None or self.original.dtype != np.uint16:
            return self.pixels
        plain = self.original.shape[2] == 3 and (not self.icc_profile or conversion(self.icc_profile, "RGB") is None)
        return self.original.astype(np.float32) / np.float32(257) if plain else self.pixels.astype(np.float32)


def read_photo(source: str | Path | bytes, name: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read any picture as upright sRGB.

    Transparent pixels are composited on white, 16-bit pictures are reduced to 8 bits, other colour spaces and palettes
    are converted, also Adobe RGB that EXIF names and no profile. Of an animation the first frame is used, and ``note``
    says so. ``original`` keeps the pixels before these conversions.

    Args:
        source: a path, or the bytes of a file.
        name: of the photo in messages; the path by default.
        max_pixels: larger pictures are not decoded.

    Raises:
        UnreadablePhotoError: missing, empty, not a picture, damaged, or too large.
    """
    name = name or ("the picture" if isinstance(source, bytes) else str(source))
    with _foreign_errors(name, max_pixels), _filters_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of sizes that are checked below, and of odd metadata
        with Image.open(_existing_data(source, name), formats=_formats()) as opened:
            _check_size(opened, name, max_pixels)
            deep = is_deep(opened)
            orientation = orientation_of(opened) if deep else 1
            opened.load()
            _check_size(opened, name, max_pixels)  # the picture of a HEIF file may be larger than its header says
            photo = _photo_of(opened, name)
            if deep:
                seen = photo.pixels if photo.original is None else photo.original
                data = source if isinstance(source, bytes) else Path(source).read_bytes()
                levels = read_deep(data, seen, orientation)
                photo = photo if levels is None else dataclasses.replace(photo, original=levels)
            note = _frames_note(opened, name)  # last, because counting frames seeks to other frames
    return dataclasses.replace(photo, note=note)


def photo_of(picture: Image.Image, name: str = "the picture") -> Photo:
    """Convert a picture opened by Pillow to a Photo, as :func:`read_photo` does."""
    with _foreign_errors(name, MAX_PIXELS):
        picture.load()
        return _photo_of(picture.copy(), name)


def _photo_of(picture: Image.Image, name: str) -> Photo:
    """Convert a loaded picture, to which the EXIF orientation is applied in place."""
    xmp, iptc = xmp_of(picture), iptc_of(picture)
    if not picture.info.get("icc_profile") and says_adobe_rgb(picture):
        picture.info["icc_profile"] = adobe_rgb_profile()
    exif = turn_upright(picture)
    colours = decoded(picture)
    return Photo(colours.pixels, name, "", exif, colours.profile, xmp, iptc, colours.original)


def _existing_data(source: str | Path | bytes, name: str) -> Path | io.BytesIO:
    """The path or buffer for Pillow to open, after checking for folders, missing and empty files."""
    if not isinstance(source, bytes):
        path = Path(source)
        if path.is_dir():
            raise UnreadablePhotoError(f"{name} is a folder; expected a picture file. Name one of the files in it.")
        if not path.exists():
            raise UnreadablePhotoError(f"{name} does not exist. Check the path.")
    if (len(source) if isinstance(source, bytes) else path.stat().st_size) == 0:
        raise UnreadablePhotoError(f"{name} is empty (0 bytes). Export or download it again.")
    return io.BytesIO(source) if isinstance(source, bytes) else path


def _formats() -> list[str]:
    """The formats that can be read, with HEIF registered with Pillow if pillow-heif is installed."""
    Image.init()
    if "HEIF" not in Image.OPEN:
        with suppress(ImportError):  # pillow-heif may be missing in a minimal installation for training
            importlib.import_module("pillow_heif").register_heif_opener()
    return [known for known in FORMATS if known in Image.OPEN]


def _frames_note(opened: Image.Image, name: str) -> str:
    """The note for an animation or a file of several pages; the second picture of an MPO is only a preview."""
    if opened.format == "MPO" or not getattr(opened, "is_animated", False):
        return ""
    try:
        count = str(getattr(opened, "n_frames", 1))
    except Exception:  # a later frame is damaged, for which Pillow raises many types; the first one is already read
        count = "several"
    which = "main" if opened.format == "HEIF" else "first"
    return f"{name} has {count} frames; the {which} one is used."


@contextmanager
def _foreign_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Translate all errors of Pillow to UnreadablePhotoError."""
    try:
        yield
    except UnreadablePhotoError:
        raise
    except UnidentifiedImageError:
        advice = "Open it in an image editor and export it as JPEG or PNG."
        if "HEIF" not in Image.OPEN:
            advice = "If it is a HEIC photo, install what reads it with: pip install pillow-heif"
        raise UnreadablePhotoError(
            f"{name} is not a picture that can be read; expected JPEG, PNG, HEIC, AVIF, WebP, GIF, BMP or TIFF. "
            + advice
        ) from None
    except Image.DecompressionBombError:
        raise UnreadablePhotoError(_too_large(name, max_pixels)) from None
    except MemoryError:
        raise UnreadablePhotoError(f"{name} does not fit into memory. Shrink it first.") from None
    except PermissionError:
        raise UnreadablePhotoError(f"{name} may not be read by this user. Change its permissions.") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        if isinstance(error, OSError) and error.errno:  # from the operating system; decoders set no errno
            raise UnreadablePhotoError(f"{name} cannot be opened: {error.strerror}. Check the path.") from error
        reason = " ".join(str(error).split())[:100].rstrip(".") or type(error).__name__
        raise UnreadablePhotoError(f"{name} is damaged or cut short: {reason}. Export or download it again.") from error


def _check_size(opened: Image.Image, name: str, max_pixels: int) -> None:
    width, height = opened.size
    if width * height > max_pixels:
        raise UnreadablePhotoError(_too_large(name, max_pixels, f" ({width} x {height})"))
    if min(width, height) < MIN_SIDE:
        raise UnreadablePhotoError(
            f"{name} has only {width} x {height} pixels; expected at least {MIN_SIDE} x {MIN_SIDE}. Use a larger one."
        )


def _too_large(name: str, max_pixels: int, size: str = "") -> str:
    return (
        f"{name} claims too many pixels{size}; at most {max_pixels / 10**6:.3g} megapixels are read. Shrink it first."
    )
