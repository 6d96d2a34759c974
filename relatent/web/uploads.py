"""Limits of uploads; error messages name the limit.

Call `read_upload` for a picture and `check_upload` for any other file before using it. The limit in bytes is also
enforced during the upload (`launch(max_file_size=...)`).
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
    """Upper limits for one user.

    Attributes:
        upload_bytes: of one file.
        pixels: of one photo; larger ones are not decoded.
        photos: in one batch.
        kept: inverted faces in a session; beyond, the oldest is deleted.
        zip_members: entries of an archive.
        zip_bytes: total size of an archive's unpacked content.
        zip_ratio: unpacked size relative to the archive; photos hardly compress, so a high ratio means a zip bomb.
    """

    upload_bytes: int = 40 * MEGABYTE
    pixels: int = 50 * MEGAPIXEL
    photos: int = 64
    kept: int = 12
    zip_members: int = 256
    zip_bytes: int = 400 * MEGABYTE
    zip_ratio: int = 50


def check_upload(path: Path, limits: Limits, name: str = "") -> Path:
    """Check that ``path`` is a file of an accepted size; returns it.

    Raises:
        UsageError: missing, empty or larger than ``upload_bytes``.
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
    """Read a photo from an uploaded file; messages contain only its file name.

    Raises:
        UnreadablePhotoError: not a picture, damaged, or larger than ``pixels``.
        UsageError: see :func:`check_upload`.
    """
    name = name or path.name
    try:
        check_upload(path, limits, name)
    except UsageError as error:
        raise UnreadablePhotoError(str(error)) from error
    return read_photo(path, name, max_pixels=limits.pixels)


def check_count(files: Sequence[object], limits: Limits) -> None:
    """Check the number of photos of a batch.

    Raises:
        UsageError: no photos, or more than ``photos``.
    """
    if not files:
        raise UsageError("no photo came; expected at least one. Choose some files first.")
    if len(files) > limits.photos:
        raise UsageError(f"{len(files)} photos came; at most {limits.photos} are taken at once. Send fewer.")
