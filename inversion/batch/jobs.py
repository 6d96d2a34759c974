"""Assigns result folders to photos, so that a rerun finds those of earlier runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from relatent.core.claims import Claim, Owner, take
from relatent.core.errors import PhotoError, UnreadablePhotoError
from relatent.core.files import sha256_of
from relatent.core.folders import look_into
from relatent.core.results import BATCH_FILES, MANIFEST_FILE, is_free, read_claim, read_report, without_results

MOST_NAMED = 20  # files that a message names
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


@dataclass
class Names:
    """Some names of many: their number, and the first of them."""

    most: int
    count: int = 0
    first: list[Path] = field(default_factory=list)

    def add(self, paths: Iterable[Path]) -> None:
        """Count paths, and keep the first ``most`` of them."""
        for path in paths:
            self.count += 1
            if len(self.first) < self.most:
                self.first.append(path)

    def __str__(self) -> str:
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return ", ".join(map(str, self.first)) + more


class InputStream:
    """The photos of a command's arguments, found while they are iterated over, so that memory does not grow with them.

    Pictures that Relatent made are left out of folders. A folder without photos is represented by its error. A file
    that is named twice by one path may come twice.

    Attributes:
        passed_over: files in the folders that are not pictures.
        results: pictures in the folders that Relatent made, which are left out.
    """

    def __init__(self, inputs: Iterable[Path], most: int = MOST_NAMED) -> None:
        self.inputs = list(inputs)
        self.passed_over, self.results = Names(most), Names(most)

    def __iter__(self) -> Iterator[Path | PhotoError]:
        for path in self.inputs:
            if path.is_dir():
                yield from self._in_folder(path)
            else:
                yield path

    def _in_folder(self, path: Path) -> Iterator[Path | PhotoError]:
        empty, before = True, self.results.count
        for photo in self._photos_below(path):
            empty = False
            yield photo
        if empty:
            what = "no pictures but what Relatent made before" if self.results.count > before else "no pictures"
            yield PhotoError(f"{path} holds {what}; expected files such as .jpg or .png. Check the folder.")

    def _photos_below(self, path: Path) -> Iterator[Path]:
        contents, folders = look_into(path)
        photos, made = without_results(contents.photos)
        ours = BATCH_FILES if any(one.name == MANIFEST_FILE for one in contents.others) else frozenset()
        others, more = without_results(one for one in contents.others if one.name not in ours)
        self.passed_over.add(others)
        self.results.add([*made, *more])
        inside = set(folders)
        for one in sorted([*photos, *folders]):
            if one in inside:
                yield from self._photos_below(one)
            else:
                yield one

    def note(self) -> str:
        """A message about files that were passed over or left out; empty if there are none."""
        parts = []
        if self.passed_over.count:
            count = self.passed_over.count
            what = "1 file is no picture and was" if count == 1 else f"{count} files are no pictures and were"
            parts.append(f"{what} passed over: {self.passed_over}.")
        if self.results.count:
            parts.append(f"left out what Relatent made before: {self.results}. To invert such a picture, name it.")
        return " ".join(parts)


@dataclass(frozen=True)
class Inputs:
    """The photos of a command's arguments, all at once; see :class:`InputStream`.

    Attributes:
        photos: files, each once; folders without photos are represented by an error.
        passed_over: files in the folders that are not pictures.
        results: pictures in the folders that Relatent made, which are left out.
    """

    photos: list[Path | PhotoError]
    passed_over: list[Path]
    results: list[Path]


def expand(inputs: Iterable[Path]) -> Inputs:
    """Expand folders to the photos in them; a folder without photos is represented by its error.

    A file that is named twice, even by different paths, is returned once.
    """
    stream = InputStream(inputs, most=sys.maxsize)
    found: dict[Path, Path | PhotoError] = {}
    for number, one in enumerate(stream):
        found.setdefault(Path(str(number)) if isinstance(one, PhotoError) else _whole(one), one)
    return Inputs(
        list(found.values()), list(dict.fromkeys(stream.passed_over.first)), sorted(set(stream.results.first))
    )


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


def _whole(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # circular links
        return path.absolute()
