"""Assigns result folders to photos, so that a rerun finds those of earlier runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from relatent.core.claims import Claim, Owner, take
from relatent.core.errors import UnreadablePhotoError
from relatent.core.files import sha256_of
from relatent.core.results import is_free, read_claim, read_report

FIRST_NUMBERS = 3  # of a stem, that are looked at before the manifest is asked


@dataclass(frozen=True)
class Job:
    """One photo to be inverted.

    Attributes:
        photo: its file.
        digest: sha256 of its bytes.
    """

    photo: Path
    digest: str


def open_job(photo: Path) -> Job:
    """Make the job of a photo, with the hash of its content.

    Raises:
        UnreadablePhotoError: the file cannot be read.
    """
    try:
        return Job(photo, sha256_of(photo))
    except FileNotFoundError:
        raise UnreadablePhotoError(f"{photo} does not exist. Check the path.") from None
    except OSError as error:
        raise UnreadablePhotoError(f"{photo} cannot be read ({error.strerror}). Check its permissions.") from error


@dataclass(frozen=True)
class KnownNames:
    """What a manifest knows of the folders of a stem.

    Attributes:
        own: numbers of those of the same photo.
        others: how many there are.
    """

    own: tuple[int, ...]
    others: int


Known = Callable[[Job], KnownNames]


class FolderNames:
    """Assigns folders below ``outdir`` to faces: STEM, STEM-2 for another photo of that stem, STEM-face2.

    A folder belongs to the photo and face that its report or claim names, so a rerun with other photos finds the same
    folders. If a name is taken by something else, the next number is tried.
    """

    def __init__(self, outdir: Path, known: Known | None = None, *, every_face: bool = False) -> None:
        self.outdir, self.known, self.every_face = outdir, known, every_face
        self.reserved: dict[Path, Job] = {}  # names of first faces that are being inverted

    def reserve(self, job: Job) -> None:
        """Keep the name of a photo's first face for it, so that names follow the order in which photos come."""
        self.reserved[self.folder(job, 1)] = job

    def release(self, job: Job) -> None:
        """Give up a reserved name."""
        self.reserved = {folder: other for folder, other in self.reserved.items() if other.digest != job.digest}

    def folder(self, job: Job, face: int) -> Path:
        """The folder of face number ``face``, counted from 1: the one with its result, or else the first free one."""
        for number in self._numbers(job):
            first = self.outdir / (job.photo.stem if number == 1 else f"{job.photo.stem}-{number}")
            folder = first if face == 1 else first.with_name(f"{first.name}-face{face}")
            owner = self._photo_in(folder)
            is_own = owner is not None and is_face(owner, job, face)
            # Faces of one photo share a stem, so STEM-face2 is not used if STEM belongs to another photo.
            if is_own or (
                self._is_free(folder, job)
                and (face == 1 or self._is_free(first, job) or _is_of(self._photo_in(first), job))
            ):
                return folder
        raise AssertionError("there are endless numbers")

    def _numbers(self, job: Job) -> Iterator[int]:
        """Numbers for a stem: 1 to 3, and then, of thousands of photos of that stem, only what may be free."""
        yield from range(1, FIRST_NUMBERS + 1)
        known = self.known(job) if self.known else None
        if known is None:
            yield from count(FIRST_NUMBERS + 1)
            return
        yield from known.own
        yield from count(max(FIRST_NUMBERS, known.others) + 1)

    def _is_free(self, folder: Path, job: Job) -> bool:
        # With every face, STEM-face2 may be needed as long as STEM is reserved.
        first = folder.with_name(re.sub(r"-face\d+$", "", folder.name)) if self.every_face else folder
        others = {self.reserved[one].digest for one in (folder, first) if one in self.reserved} - {job.digest}
        return not others and is_free(folder)

    def _photo_in(self, folder: Path) -> Owner | None:
        owner = read_claim(folder) or read_report(folder)
        if owner is None and folder in self.reserved:
            return _owner(self.reserved[folder], 1)
        return owner

    def claim(self, job: Job, face: int) -> Claim:
        """The folder of a face, claimed for this process.

        Raises:
            OutputError: the folder cannot be written, or another process is writing the same face.
        """
        while True:
            claim = take(self.folder(job, face), _owner(job, face), lambda known: is_face(known, job, face))
            if claim is not None:
                return claim


def is_face(known: Owner, job: Job, face: int) -> bool:
    """Whether a report or claim belongs to this face of this photo."""
    photo = known.get("photo")
    return isinstance(photo, dict) and (photo.get("sha256"), photo.get("face")) == (job.digest, face)


def _is_of(known: Owner | None, job: Job) -> bool:
    photo = (known or {}).get("photo")
    return isinstance(photo, dict) and photo.get("sha256") == job.digest


def _owner(job: Job, face: int) -> Owner:
    return {"photo": {"sha256": job.digest, "face": face}}
