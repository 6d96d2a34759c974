"""Assigns result folders to photos, so that a rerun finds those of earlier runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relatent.core.claims import Claim, Owner, take
from relatent.core.errors import UnreadablePhotoError
from relatent.core.files import sha256_of
from relatent.core.results import is_free, read_claim, read_report


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


class FolderNames:
    """Assigns folders below ``outdir`` to faces: STEM, STEM-2 for another photo of that stem, STEM-face2.

    A folder belongs to the photo and face that its report or claim names, so a rerun with other photos finds the same
    folders. If a name is taken by something else, the next number is tried.
    """

    def __init__(self, outdir: Path) -> None:
        self.outdir = outdir

    def folder(self, job: Job, face: int) -> Path:
        """The folder of face number ``face``, counted from 1: the one with its result, or else the first free one."""
        number = 1
        while True:
            first = self.outdir / (job.photo.stem if number == 1 else f"{job.photo.stem}-{number}")
            folder = first if face == 1 else first.with_name(f"{first.name}-face{face}")
            owner = _photo_in(folder)
            is_own = owner is not None and is_face(owner, job, face)
            # Faces of one photo share a stem, so STEM-face2 is not used if STEM belongs to another photo.
            if is_own or (is_free(folder) and (face == 1 or is_free(first) or _is_of(_photo_in(first), job))):
                return folder
            number += 1

    def claim(self, job: Job, face: int) -> Claim:
        """The folder of a face, claimed for this process.

        Raises:
            OutputError: the folder cannot be written, or another process is writing the same face.
        """
        owner: Owner = {"photo": {"sha256": job.digest, "face": face}}
        while True:
            claim = take(self.folder(job, face), owner, lambda known: is_face(known, job, face))
            if claim is not None:
                return claim


def is_face(known: Owner, job: Job, face: int) -> bool:
    """Whether a report or claim belongs to this face of this photo."""
    photo = known.get("photo")
    return isinstance(photo, dict) and (photo.get("sha256"), photo.get("face")) == (job.digest, face)


def _is_of(known: Owner | None, job: Job) -> bool:
    photo = (known or {}).get("photo")
    return isinstance(photo, dict) and photo.get("sha256") == job.digest


def _photo_in(folder: Path) -> Owner | None:
    return read_claim(folder) or read_report(folder)
