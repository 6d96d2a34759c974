"""Assigns result folders to photos, so that a rerun finds those of earlier runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inversion.batch.report import read_report
from relatent.core.errors import PhotoError, UnreadablePhotoError
from relatent.core.folders import look_through
from relatent.core.wording import listed

CHUNK = 2**20


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
        photos: files without duplicates; an error in place of a folder without pictures.
        passed_over: other files in the folders.
    """

    photos: list[Path | PhotoError]
    passed_over: list[Path]

    def note(self) -> str:
        """A message on the files that were passed over; empty if there are none."""
        if not self.passed_over:
            return ""
        count = len(self.passed_over)
        what = "1 file is no picture and was" if count == 1 else f"{count} files are no pictures and were"
        return f"{what} passed over: {listed([str(path) for path in self.passed_over])}."


def expand(inputs: Iterable[Path]) -> Inputs:
    """Replace folders by the pictures in them, and folders without pictures by an error."""
    photos: list[Path | PhotoError] = []
    others: list[Path] = []
    for path in inputs:
        if path.is_dir():
            contents = look_through(path)
            empty = PhotoError(f"{path} holds no pictures; expected files such as .jpg or .png. Check the folder.")
            photos.extend(contents.photos or [empty])
            others.extend(contents.others)
        else:
            photos.append(path)
    return Inputs(list(dict.fromkeys(photos)), list(dict.fromkeys(others)))


def open_job(photo: Path) -> Job:
    """Make the job of a photo, with the hash of its content.

    Raises:
        UnreadablePhotoError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with photo.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        raise UnreadablePhotoError(f"{photo} does not exist. Check the path.") from None
    except OSError as error:
        raise UnreadablePhotoError(f"{photo} cannot be read ({error.strerror}). Check its permissions.") from error
    return Job(photo, digest.hexdigest())


class FolderNames:
    """Assigns folders below ``outdir`` to faces: STEM, STEM-2 for another photo of that stem, STEM-face2.

    A folder of an earlier run belongs to the photo whose hash is in its report, so a rerun finds the same names even
    with other photos.
    """

    def __init__(self, outdir: Path) -> None:
        self.outdir = outdir
        self._owners: dict[str, str] = {}

    def name(self, job: Job) -> str:
        """The folder name of the photo's first face, which is reserved for this photo."""
        identity = f"{job.digest} {job.photo}"
        number = 1
        while True:
            name = job.photo.stem if number == 1 else f"{job.photo.stem}-{number}"
            owner = self._owners.get(name)
            if owner == identity or (owner is None and self._free_on_disk(name, job.digest)):
                self._owners[name] = identity
                return name
            number += 1

    def folder(self, job: Job, face: int) -> Path:
        """The folder of face number ``face``, counted from 1."""
        name = self.name(job)
        return self.outdir / (name if face == 1 else f"{name}-face{face}")

    def _free_on_disk(self, name: str, digest: str) -> bool:
        folders = [self.outdir / name, *self.outdir.glob(f"{_escaped(name)}-face[0-9]*")]
        return all(digest_of(folder) in (None, digest) for folder in folders if folder.exists())


def digest_of(folder: Path) -> str | None:
    """The hash of the photo of a finished folder; "?" if the folder is something else."""
    report = read_report(folder)
    if report is None:
        return "?"
    photo = report.get("photo")
    return str(photo.get("sha256")) if isinstance(photo, dict) else "?"


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
