"""Runs a batch: decides what is to be done, writes what comes back, and keeps the manifest.

The work itself is an executor's (here.py, workers.py, ray_data.py). Only the process that runs the engine writes to
OUT, and only one at a time: it holds a claim on OUT.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from inversion.batch.database import DONE, FAILED, PENDING
from inversion.batch.jobs import FolderNames, Job, KnownNames, open_job
from inversion.batch.loop import told_outcomes
from inversion.batch.manifest import FaceRow, Manifest, PhotoRow
from inversion.batch.report import VIDEO_FILE, measures_of, plain, write_result
from inversion.batch.requests import Answer, Executor, FaceFiles, Outcome, Request
from relatent.core.claims import Claim, require_room
from relatent.core.errors import NoSpaceError, OutputError, PhotoError, UnreadablePhotoError
from relatent.core.results import INVERSION_FILE, INVERSION_FILES


@dataclass(frozen=True)
class Wanted:
    """What a run is to do.

    Attributes:
        settings: what identifies a result: network, preset, seed, settings.
        face: "largest", "all", or a number.
        overwrite: redo what is done.
        retry_failed: try again what has failed before.
        save_video: whether results have a video.
        hash_first: compute the sha256 of each photo before asking for it; else only where it may be done already.
    """

    settings: dict[str, object]
    face: str | int = "largest"
    overwrite: bool = False
    retry_failed: bool = False
    save_video: bool = False
    hash_first: bool = True


@dataclass
class _Task:
    """A photo that an executor works on."""

    row: PhotoRow
    job: Job | None  # None while its content is not known
    told: bool = False  # whether the outcomes of faces that need no work were given
    failed: str = ""  # why a result could not be written


class Engine:
    """One run of a batch.

    Args:
        manifest: of OUT, from :func:`inversion.batch.opening.opened_manifest`.
        wanted: what is to be done.
        stop: asked before each photo; when it returns True, what is in hand is finished and no more begun.
    """

    def __init__(self, manifest: Manifest, wanted: Wanted, stop: Callable[[], bool] = lambda: False) -> None:
        self.manifest, self.wanted, self.stop = manifest, wanted, stop
        self.names = FolderNames(manifest.outdir, self._known_names, every_face=wanted.face == "all")
        self.settings = manifest.settings_number(wanted.settings)
        self.tasks: dict[int, _Task] = {}
        self.at_work: dict[str, Path] = {}  # photos by content
        self.told: deque[Outcome] = deque()

    def run(self, photos: Iterable[Path | PhotoError], executor: Executor) -> Iterator[Outcome]:
        """Invert photos, yielding the outcome of each face when it is known.

        Raises:
            NoSpaceError: the disk is full; what was done before is kept.
        """
        manifest, run = self.manifest, self.manifest.start_run()
        errors: list[Outcome] = []
        manifest.add_photos(run, _paths_of(photos, errors))
        yield from errors
        yield from told_outcomes(executor.answers(self._requests(run)), self._take, self.told)
        if not self.stop():
            manifest.end_run(run)

    def _tell(self, status: str, message: str, photo: Path, folder: Path | None = None, note: str = "") -> None:
        self.told.append(Outcome(status, message, photo, folder, note))

    # What is to be done

    def _requests(self, run: int) -> Iterator[Request | None]:
        for row in self.manifest.photos(run):
            if self.stop():
                return
            try:
                yield self._request(row)
            except PhotoError as error:
                self.manifest.set_photo(row.id, FAILED, str(error), settings=self.settings)
                self._tell("failed", str(error), row.path)
                yield None
            except NoSpaceError:
                raise
            except OutputError as error:
                self.manifest.set_photo(row.id, PENDING, str(error))
                self._tell("failed", str(error), row.path)
                yield None

    def _request(self, row: PhotoRow) -> Request | None:
        """The request for a photo; None if nothing is to be done, which is then told."""
        found = self._found(row.path)
        if self._failed_before(row, found):
            self._tell("failed", f"{row.reason} (Failed before; --retry-failed tries again.)", row.path)
            return None
        job = self._job(row, found)
        if job is None:
            self.tasks[row.id] = _Task(row, None)
            return Request(row.id, row.path)
        if job.digest in self.at_work:
            self._tell("skipped", f"the same photo as {self.at_work[job.digest]}", row.path)
            return None
        numbers = self._known_numbers(job)
        if numbers is not None:
            decided = [self._decided(job, number) for number in numbers]
            if all(decided):
                self.told += [one for one in decided if one is not None]
                if row.state != DONE:
                    self.manifest.set_photo(row.id, DONE, sha256=job.digest)
                return None
            for number, one in zip(numbers, decided, strict=True):
                if one is None:
                    self._check_room(job, number)
        done = frozenset() if self.wanted.overwrite else self._done_numbers(job)
        self.names.reserve(job)
        self.at_work[job.digest] = row.path
        self.tasks[row.id] = _Task(row, job)
        return Request(row.id, row.path, job.digest, done)

    @staticmethod
    def _found(path: Path) -> os.stat_result:
        try:
            return path.stat()
        except FileNotFoundError:
            raise UnreadablePhotoError(f"{path} does not exist. Check the path.") from None
        except OSError as error:
            raise UnreadablePhotoError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error

    def _job(self, row: PhotoRow, found: os.stat_result) -> Job | None:
        """The photo with the hash of its content; None if that is left to whoever reads it."""
        if row.sha256 and _is_unchanged(row, found):
            return Job(row.path, row.sha256)
        if self.wanted.hash_first or self.manifest.has_size(found.st_size, row.id):
            job = open_job(row.path)
            self.manifest.set_content(row.id, found.st_size, found.st_mtime_ns, job.digest)
            return job
        self.manifest.set_content(row.id, found.st_size, found.st_mtime_ns, None)
        return None

    def _failed_before(self, row: PhotoRow, found: os.stat_result) -> bool:
        again = self.wanted.retry_failed or self.wanted.overwrite
        return row.state == FAILED and row.settings == self.settings and _is_unchanged(row, found) and not again

    def _known_numbers(self, job: Job) -> list[int] | None:
        """The numbers of the wanted faces; None if the photo has to be read to know them."""
        face = self.wanted.face
        if face == "all":
            found = self.manifest.faces_in(job.digest)
            return list(range(1, found + 1)) if found else None
        return [1 if face == "largest" else int(face)]

    def _done_numbers(self, job: Job) -> frozenset[int]:
        """The faces with a result that are not to be inverted, whatever its settings."""
        numbers = self.manifest.done_faces(job.digest)
        return frozenset(number for number in numbers if self._decided(job, number) is not None)

    def _decided(self, job: Job, number: int) -> Outcome | None:
        """The outcome of a face that is done, with these settings or others; None if it is to be inverted."""
        row = self.manifest.face(job.digest, number)
        if self.wanted.overwrite or row is None or row.state != DONE:
            return None
        folder = self.manifest.outdir / row.folder
        if not (folder / INVERSION_FILE).is_file():  # somebody has removed it
            return None
        different = self._different(self.manifest.settings(row.settings))
        if not different:
            return Outcome("skipped", self._original(job) + self._done_note(folder), job.photo, folder)
        message = (
            f"{folder} holds {job.photo.name} inverted with another {' and '.join(different)}. "
            "Add --overwrite to replace it, or choose another --outdir."
        )
        return Outcome("failed", message, job.photo)

    def _original(self, job: Job) -> str:
        """Whose result it is, if this photo is a copy of another one."""
        first = self.manifest.first_photo(job.digest)
        if first is None or first == job.photo.absolute() or not first.exists():
            return ""
        return f"the same photo as {first}, "

    def _done_note(self, folder: Path) -> str:
        if self.wanted.save_video and not (folder / VIDEO_FILE).is_file():
            return "done before, without a video; --overwrite does it again and writes one"
        return "done before; --overwrite does it again"

    def _different(self, before: dict[str, object]) -> list[str]:
        """The settings with an influence on the result that differ from those of an earlier run."""
        wanted = dict(self.wanted.settings)
        mine, theirs = wanted.get("settings"), before.get("settings")
        if isinstance(mine, dict) and isinstance(theirs, dict):  # earlier versions lack settings that did not exist yet
            wanted["settings"] = {name: value for name, value in mine.items() if name in theirs}
        return [name for name, value in wanted.items() if before.get(name) != plain(value)]

    def _check_room(self, job: Job, number: int) -> None:
        """Say before the work if somebody else's file is in the way of a result.

        Raises:
            OutputError: it is.
        """
        folder = self.names.folder(job, number)
        require_room(folder, (name for name in INVERSION_FILES if name != VIDEO_FILE or self.wanted.save_video))

    def _known_names(self, job: Job) -> KnownNames:
        own = []
        for face, folder in self.manifest.folders_of(job.digest):
            rest = folder.removesuffix(f"-face{face}").removeprefix(f"{job.photo.stem}-")
            if rest.isdecimal():
                own.append(int(rest))
        return KnownNames(tuple(own), self.manifest.same_stems(job.photo.stem))

    # What has been done

    def _take(self, answer: Answer) -> None:
        """Write what an executor has answered."""
        task = self.tasks.get(answer.key)
        if task is None:
            return
        row = task.row
        if answer.error:
            self.manifest.set_photo(row.id, FAILED, answer.error, settings=self.settings, sha256=answer.sha256 or None)
            self._tell("failed", answer.error, row.path)
            self._drop(task)
            return
        job = task.job or Job(row.path, answer.sha256)
        if not task.told:
            task.told = True
            self.told += [one for number in answer.numbers if (one := self._decided(job, number)) is not None]
        for face in answer.faces:
            self._store(task, job, face)
        if not answer.left:
            state = PENDING if task.failed else DONE
            self.manifest.set_photo(row.id, state, task.failed, sha256=job.digest, faces=answer.found)
            self._drop(task)

    def _store(self, task: _Task, job: Job, face: FaceFiles) -> None:
        if task.job is None and self._decided(job, face.number) is not None:
            return  # a copy of another photo, which was not known when it was asked for
        before = self.manifest.face(job.digest, face.number)
        try:
            folder = self._write(job, face)
        except OutputError as error:
            with suppress(OutputError):  # a full disk may not even take this; the next run settles it
                self._put_back(job, face.number, before)
            if isinstance(error, NoSpaceError):
                raise
            task.failed = str(error)
            self._tell("failed", str(error), job.photo)
        else:
            self._tell("done", face.line, job.photo, folder, face.note)

    def _write(self, job: Job, face: FaceFiles) -> Path:
        """Write a result; the manifest says so before anything is created, so that a kill leaves nothing unknown."""
        announced = self.names.folder(job, face.number)
        self._announce(job, face, announced)
        with _claimed(self.names, job, face.number) as claim:
            if claim.folder != announced:  # somebody else has taken it since
                self._announce(job, face, claim.folder)
            claim.require_room(face.files)
            write_result(face, claim)
        self.manifest.end_face(job.digest, face.number)
        return claim.folder

    def _announce(self, job: Job, face: FaceFiles, folder: Path) -> None:
        row = FaceRow(
            job.digest, face.number, str(folder.relative_to(self.manifest.outdir)), self.settings,
            measures=measures_of(face.report), note=face.note, thumbnail=face.thumbnail,
        )  # fmt: skip
        self.manifest.begin_face(row, job.photo.stem)

    def _put_back(self, job: Job, number: int, before: FaceRow | None) -> None:
        """Record that a result could not be written, and that the one before it, if any, is still there."""
        if before is None:
            self.manifest.forget_face(job.digest, number)
        else:
            self.manifest.begin_face(before, job.photo.stem)
            self.manifest.end_face(job.digest, number)

    def _drop(self, task: _Task) -> None:
        del self.tasks[task.row.id]
        if task.job is not None:
            self.at_work.pop(task.job.digest, None)
            self.names.release(task.job)


def _is_unchanged(row: PhotoRow, found: os.stat_result) -> bool:
    return (row.size, row.modified) == (found.st_size, found.st_mtime_ns)


@contextmanager
def _claimed(names: FolderNames, job: Job, number: int) -> Iterator[Claim]:
    claim = names.claim(job, number)
    try:
        yield claim
    finally:
        claim.release()


def _paths_of(photos: Iterable[Path | PhotoError], errors: list[Outcome]) -> Iterator[Path]:
    for photo in photos:
        if isinstance(photo, PhotoError):
            errors.append(Outcome("failed", str(photo)))
        else:
            yield photo.absolute()
