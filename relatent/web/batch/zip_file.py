"""A zip of photos as data: read within limits, nothing extracted by its name; and results packed into one zip.

What an archive says of itself is checked before anything is read, and what comes out of it is counted as it comes.
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
    """What was in a zip.

    Attributes:
        photos: in the order of their names: a file each, or the reason why there is none.
        passed_over: names of members that are no pictures.
    """

    photos: tuple[Path | PhotoError, ...]
    passed_over: tuple[str, ...]


def unpack_photos(archive: Path, folder: Path, limits: Limits) -> Unpacked:
    """Write the pictures of a zip below ``folder``, each in a folder of its own, under a harmless form of its name.

    Args:
        archive: the zip file; zips inside it are passed over, as are hidden files and all that is no picture.
        folder: must be empty, or not be there.
        limits: ``zip_members``, ``zip_bytes``, ``zip_ratio``, and ``upload_bytes`` of each photo.

    Raises:
        PhotoError: not a zip file, a damaged one, or one without pictures.
        UsageError: more members or bytes than the limits allow.
        OutputError: ``folder`` cannot be written.
    """
    with _opened(archive, limits) as opened:
        everything = opened.members
        pictures = sorted(filter(_is_picture, everything), key=lambda info: info.filename)
        _check_claims(archive.name, len(everything), pictures, archive.stat().st_size, limits)
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
    others = (info.filename for info in everything if not info.is_dir() and not _is_picture(info))
    return Unpacked(tuple(photos), tuple(sorted(others)))


def safe_name(member: str) -> str:
    """A member's own name without its folders, in letters, digits, ``-``, ``_``, ``.`` and spaces alone.

    Whatever it was, it names a file in the folder it is put into: no separators, no leading dot, never empty.
    """
    name = PurePosixPath(
        unicodedata.normalize("NFC", member).replace("\\", "/")
    ).name  # macOS takes accents off letters
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    stem = re.sub(r"[^\w\-. ]", "_", stem).strip(" .")[:LONGEST_NAME].rstrip(" .")
    suffix = suffix.lower() if suffix.lower() in SUFFIXES else ""
    return (stem or "photo") + suffix


def write_results(
    folders: Mapping[str, Path], target: Path, rows: Sequence[Sequence[object]] = (), header: Sequence[str] = ()
) -> None:
    """Pack folders of results into one zip, with ``results.csv`` at its top.

    Args:
        folders: what each is called in the zip, and where it lies; files in it are packed, folders are not.
        target: the zip file.
        rows: of results.csv.
        header: of results.csv.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    with (
        atomic_file(target) as temporary,
        # Pictures and latents do not shrink.
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
    """Refuse an archive by what it says of itself."""
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
    """Whether it looks like one; macOS adds hidden companions, ``__MACOSX/._a.jpg``, that are none."""
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
    """A cell that no spreadsheet takes for a formula: a photo may be called anything."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@") else value
