"""Which photo becomes which folder: stable names, and what is already done."""

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
    """What was found at the places that a command was given.

    Attributes:
        photos: files, each once; an error in the place of a folder without pictures.
        passed_over: what lies in the folders beside the pictures.
    """

    photos: list[Path | PhotoError]
    passed_over: list[Path]

    def note(self) -> str:
        """What a person should know of what was passed over; empty if nothing was."""
        if not self.passed_over:
            return ""
        count = len(self.passed_over)
        what = "1 file is no picture and was" if count == 1 else f"{count} files are no pictures and were"
        return f"{what} passed over: {listed([str(path) for path in self.passed_over])}."


def expand(inputs: Iterable[Path]) -> Inputs:
    """Files as they are, folders as the pictures in them; a folder without any becomes its error."""
    found: list[Path | PhotoError] = []
    others: list[Path] = []
    for path in inputs:
        if path.is_dir():
            contents = look_through(path)
            empty = PhotoError(f"{path} holds no pictures; expected files such as .jpg or .png. Check the folder.")
            found.extend(contents.photos or [empty])
            others.extend(contents.others)
        else:
            found.append(path)
    return Inputs(list(dict.fromkeys(found)), list(dict.fromkeys(others)))


def open_job(photo: Path) -> Job:
    """Read the file once to know it again by its content.

    Raises:
        UnreadablePhotoError: it cannot be read.
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
    """Gives every face its folder below ``outdir``: STEM, STEM-2 for another photo of that stem, STEM-face2.

    A folder of an earlier run belongs to the photo whose content its report names, so a rerun finds
    the same names whatever else it is asked to do.
    """

    def __init__(self, outdir: Path) -> None:
        self.outdir = outdir
        self._owners: dict[str, str] = {}

    def name(self, job: Job) -> str:
        """The folder name of this photo's first face; reserved for it from now on."""
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
    """The content of the photo that a finished folder was made from; "?" if the folder is something else."""
    report = read_report(folder)
    if report is None:
        return "?"
    photo = report.get("photo")
    return str(photo.get("sha256")) if isinstance(photo, dict) else "?"


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
