"""Assigns result folders to photos, so that a rerun finds those of earlier runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relatent.core.claims import Claim, Owner, take
from relatent.core.errors import PhotoError, UnreadablePhotoError
from relatent.core.files import sha256_of
from relatent.core.folders import look_through
from relatent.core.results import is_free, read_claim, read_report, without_results
from relatent.core.wording import listed


@dataclass(frozen=True)
class Job:
    """One photo to be inverted.

    Attributes:
        photo: its file.
        digest: sha256 of its bytes.
    """

    photo: Path
    digest: str


@dataclass(frozen=True)
class Inputs:
    """The photos of a command's arguments.

    Attributes:
        photos: files, each once; folders without photos are represented by an error.
        passed_over: files in the folders that are not pictures.
        results: pictures in the folders that Relatent made, which are left out.
    """

    photos: list[Path | PhotoError]
    passed_over: list[Path]
    results: list[Path]

    def note(self) -> str:
        """A message about files that were passed over or left out; empty if there are none."""
        parts = []
        if self.passed_over:
            count = len(self.passed_over)
            what = "1 file is no picture and was" if count == 1 else f"{count} files are no pictures and were"
            parts.append(f"{what} passed over: {listed([str(path) for path in self.passed_over])}.")
        if self.results:
            named = listed([str(path) for path in self.results])
            parts.append(f"left out what Relatent made before: {named}. To invert such a picture, name it.")
        return " ".join(parts)


def expand(inputs: Iterable[Path]) -> Inputs:
    """Expand folders to the photos in them; a folder without photos is represented by its error.

    Pictures that Relatent made are left out of folders. A file that is named twice, even by different paths, is
    returned once.
    """
    found: dict[Path, Path | PhotoError] = {}
    others: list[Path] = []
    results: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            found.setdefault(_whole(path), path)
            continue
        contents = look_through(path)
        photos, made = without_results(contents.photos)
        strange, more = without_results(contents.others)
        others += strange
        results += made + more
        for photo in photos:
            found.setdefault(_whole(photo), photo)
        if not photos:
            what = "no pictures but what Relatent made before" if made else "no pictures"
            found[path] = PhotoError(f"{path} holds {what}; expected files such as .jpg or .png. Check the folder.")
    return Inputs(list(found.values()), list(dict.fromkeys(others)), sorted(set(results)))


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


def _whole(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # circular links
        return path.absolute()
