"""Reads photos from untrusted zip files within limits, and packs results into a zip file.

The sizes that an archive declares are checked before anything is read, and the bytes read are counted as well. Members
are never extracted under their own names.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from relatent.core.archive import ENTRY_BYTES, Archive, ArchiveError, MemberTooLargeError, TableTooLongError
from relatent.core.errors import PhotoError, UnreadablePhotoError, UsageError
from relatent.core.files import atomic_file, write_bytes
from relatent.core.images import SUFFIXES
from relatent.web.uploads import MEGABYTE, Limits

LONGEST_NAME = 60  # characters of a member's name that are kept


@dataclass(frozen=True)
class Unpacked:
    """The content of a zip file.

    Attributes:
        photos: in the order of their names: the path of each, or the error of one that could not be read.
        passed_over: names of members that are not pictures.
    """

    photos: tuple[Path | PhotoError, ...]
    passed_over: tuple[str, ...]


def unpack_photos(archive: Path, folder: Path, limits: Limits) -> Unpacked:
    """Write the pictures of a zip file below ``folder``, each to its own folder under a sanitised name.

    Args:
        archive: the zip file; nested zips, hidden files and everything that is not a picture are skipped.
        folder: must be empty or not exist.
        limits: ``zip_members``, ``zip_bytes``, ``zip_ratio``, and ``upload_bytes`` for each photo.

    Raises:
        PhotoError: not a zip file, damaged, or without pictures.
        UsageError: more members or bytes than the limits allow.
        OutputError: ``folder`` cannot be written.
    """
    with _opened(archive, limits) as opened:
        members = opened.members
        pictures = sorted(filter(_is_picture, members), key=lambda info: info.filename)
        _check_claims(archive.name, len(members), pictures, archive.stat().st_size, limits)
        photos: list[Path | PhotoError] = []
        total = 0
        for number, info in enumerate(pictures, start=1):
            try:
                data = _read(opened, info, limits, archive.name)
            except PhotoError as error:
                photos.append(error)
                continue
            total += len(data)
            if total > limits.zip_bytes:
                raise UsageError(_too_much(archive.name, total, limits))
            path = folder / f"{number:04}" / safe_name(info.filename)
            write_bytes(path, data)
            photos.append(path)
    others = (info.filename for info in members if not info.is_dir() and not _is_picture(info))
    return Unpacked(tuple(photos), tuple(sorted(others)))


def safe_name(member: str) -> str:
    """A member's file name, reduced to letters, digits, ``-``, ``_``, ``.`` and spaces.

    The result has no separators and no leading dot, and is never empty.
    """
    name = PurePosixPath(
        unicodedata.normalize("NFC", member).replace("\\", "/")
    ).name  # macOS decomposes accented letters
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    stem = re.sub(r"[^\w\-. ]", "_", stem).strip(" .")[:LONGEST_NAME].rstrip(" .")
    suffix = suffix.lower() if suffix.lower() in SUFFIXES else ""
    return (stem or "photo") + suffix


def write_results(
    folders: Mapping[str, Path], target: Path, rows: Sequence[Sequence[object]] = (), header: Sequence[str] = ()
) -> None:
    """Pack folders of results into a zip file, with ``results.csv`` at the top level.

    Args:
        folders: by their names in the zip, which may have slashes; their files are packed, subfolders are not.
        target: the zip file.
        rows: of results.csv.
        header: of results.csv.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    with (
        atomic_file(target) as temporary,
        # Pictures and latents do not compress.
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed,
    ):
        packed.writestr("results.csv", _csv([header, *rows]), zipfile.ZIP_DEFLATED)
        for name, folder in folders.items():
            for file in sorted(path for path in folder.iterdir() if path.is_file()):
                packed.write(file, f"{name}/{file.name}")


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[Archive]:
    try:
        archive = Archive(path, limits.zip_members * ENTRY_BYTES)
    except TableTooLongError:
        raise UsageError(_too_many(path.name, "more", limits)) from None
    except ArchiveError as error:
        raise UnreadablePhotoError(
            f"{path.name} is not a zip file that can be read ({error!s:.80}). Pack the photos again as .zip."
        ) from error
    with archive:
        yield archive


def _check_claims(name: str, members: int, pictures: Iterable[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    """Check the number and the sizes of members that an archive declares."""
    if members > limits.zip_members:
        raise UsageError(_too_many(name, str(members), limits))
    claimed = [info.file_size for info in pictures]
    if not claimed:
        raise PhotoError(f"{name} holds no pictures; expected files such as .jpg or .png. Check what was packed.")
    if sum(claimed) > limits.zip_bytes:
        raise UsageError(_too_much(name, sum(claimed), limits))
    if sum(claimed) > size * limits.zip_ratio:
        raise UsageError(
            f"{name} would grow to {sum(claimed) / size:.0f} times its size; at most {limits.zip_ratio} times is "
            "unpacked. Photos hardly shrink in a zip: check what it is, and upload them one by one."
        )


def _read(opened: Archive, info: zipfile.ZipInfo, limits: Limits, archive: str) -> bytes:
    """The bytes of one member, never more than are allowed, whatever it says of itself.

    Raises:
        PhotoError: encrypted, damaged, or too large.
    """
    name = safe_name(info.filename)
    if info.flag_bits & 0x1:
        raise PhotoError(f"{name} in {archive} is encrypted. Pack the photos again without a password.")
    try:
        return opened.read(info, limits.upload_bytes)
    except MemberTooLargeError as error:
        raise PhotoError(
            f"{name} in {archive} has {error.size / MEGABYTE:.0f} MB unpacked; at most "
            f"{limits.upload_bytes // MEGABYTE} MB a photo are read. Shrink it first."
        ) from error
    except ArchiveError as error:
        reason = str(error).replace(info.filename, name)[:80]
        raise UnreadablePhotoError(f"{name} in {archive} cannot be unpacked ({reason}). Pack it again.") from error


def _is_picture(info: zipfile.ZipInfo) -> bool:
    """Whether a member has the suffix of a picture and is not hidden, as ``__MACOSX/._a.jpg`` of macOS."""
    name = PurePosixPath(info.filename.replace("\\", "/"))
    return not info.is_dir() and not name.name.startswith(".") and name.suffix.lower() in SUFFIXES


def _too_many(name: str, count: str, limits: Limits) -> str:
    return (
        f"{name} holds {count} files; at most {limits.zip_members} are read from one zip. "
        "Pack fewer photos, or split them into several zips."
    )


def _too_much(name: str, total: int, limits: Limits) -> str:
    return (
        f"{name} holds {total / MEGABYTE:.0f} MB of photos unpacked; at most {limits.zip_bytes // MEGABYTE} MB are "
        "unpacked. Pack fewer or smaller photos."
    )


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([[_plain(value) for value in row] for row in rows])
    return text.getvalue()


def _plain(value: object) -> object:
    """Escape cells that a spreadsheet would read as a formula, because a photo may have any name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@") else value
