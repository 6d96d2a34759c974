"""What an upload may be. Every refusal names the limit.

Call `read_upload` for a picture and `check_upload` for any other file, before anything is done with it. The same
number of bytes stops an upload while it arrives (`launch(max_file_size=...)`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relatent.core.errors import UnreadablePhotoError, UsageError
from relatent.core.images import Photo, read_photo

MEGABYTE = 2**20  # as browsers count
MEGAPIXEL = 10**6


@dataclass(frozen=True)
class Limits:
    """Upper limits of what one visitor may send.

    Attributes:
        upload_bytes: of one file.
        pixels: of one photo; a larger one is not decoded.
        photos: in one batch.
        kept: inversions remembered of one session; the oldest goes first.
        zip_members: entries of an archive.
        zip_bytes: of an archive's contents together, once unpacked.
        zip_ratio: how many times larger an archive's photos may be than it is itself; photos hardly shrink, bombs do.
    """

    upload_bytes: int = 40 * MEGABYTE
    pixels: int = 50 * MEGAPIXEL
    photos: int = 64
    kept: int = 12
    zip_members: int = 256
    zip_bytes: int = 400 * MEGABYTE
    zip_ratio: int = 50


def check_upload(path: Path, limits: Limits, name: str = "") -> Path:
    """``path`` itself, if it is a file that is not too long.

    Raises:
        UsageError: missing, empty or longer than ``upload_bytes``.
    """
    name = name or path.name
    if not path.is_file():
        raise UsageError(f"the upload {name} is no longer there. Upload it again.")
    size = path.stat().st_size
    if size == 0:
        raise UsageError(f"{name} is empty (0 bytes). Export or download it again.")
    if size > limits.upload_bytes:
        raise UsageError(
            f"{name} has {size / MEGABYTE:.1f} MB; at most {limits.upload_bytes / MEGABYTE:.3g} MB are taken. "
            "Shrink it first."
        )
    return path


def read_upload(path: Path, limits: Limits, name: str = "") -> Photo:
    """A photo from an uploaded file; its name in messages is the file's own.

    Raises:
        UnreadablePhotoError: no picture, damaged, or of more than ``pixels`` pixels.
        UsageError: see :func:`check_upload`.
    """
    name = name or path.name
    try:
        check_upload(path, limits, name)
    except UsageError as error:
        raise UnreadablePhotoError(str(error)) from error
    return read_photo(path, name, max_pixels=limits.pixels)


def check_count(files: Sequence[object], limits: Limits) -> None:
    """Refuse more photos than one batch takes.

    Raises:
        UsageError: none, or more than ``photos``.
    """
    if not files:
        raise UsageError("no photo came; expected at least one. Choose some files first.")
    if len(files) > limits.photos:
        raise UsageError(f"{len(files)} photos came; at most {limits.photos} are taken at once. Send fewer.")
