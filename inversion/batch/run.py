"""Inverts many photos into folders; errors of a photo are reported and do not stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inversion.batch.jobs import FolderNames, Job, is_face, open_job
from inversion.batch.report import VIDEO_FILE, Result, write_result
from inversion.batch_size import batch_size_for
from inversion.config import InvertConfig
from inversion.optim.projector import Progress, Step
from inversion.pipeline import InvertedFace, Pipeline, PreparedFace
from relatent.core.claims import Claim
from relatent.core.errors import OutputError, PhotoError
from relatent.core.files import output_errors
from relatent.core.images import MAX_PIXELS, read_photo, to_pixels
from relatent.core.numbers import as_whole
from relatent.core.results import INVERSION_FILES, finished_report
from relatent.core.video import enlarged, require_video_name
from stylegan import network_id
from stylegan.networks.generator import Generator

NO_STEPS = "With this preset and network there are no steps to show: proj.mp4 shows the result alone."
VIDEO_FRAMES = 120  # five seconds at 24 a second
VIDEO_SIDE = 256  # px; smaller videos are hard to find in a player's window


@dataclass(frozen=True)
class BatchOptions:
    """Options of a batch, in addition to :class:`InvertConfig`.

    Attributes:
        overwrite: invert finished photos again. Only files that Relatent wrote are replaced.
        save_video: write the pictures of the optimisation as proj.mp4.
        batch_size: photos optimised together; None chooses it by the device and the network.
        max_pixels: larger photos are not decoded.

    Raises:
        UsageError: invalid batch size.
    """

    overwrite: bool = False
    save_video: bool = False
    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", as_whole("batch_size", self.batch_size, 1, 2**16))


@dataclass(frozen=True)
class Outcome:
    """The outcome of one face.

    Attributes:
        status: "done", "skipped" if an earlier run has finished it, or "failed".
        message: the measures, or the error message.
        photo: the file; None if the input was an error.
        folder: of the results; None if it failed.
        note: a remark on how the photo was read; may be empty.
    """

    status: str
    message: str
    photo: Path | None = None
    folder: Path | None = None
    note: str = ""


@dataclass
class _Task:
    """A face waiting to be inverted; its photo has been read and its folder is claimed."""

    job: Job
    claim: Claim
    prepared: PreparedFace
    note: str
    frames: list[np.ndarray] = field(default_factory=list)


OnStep = Callable[[Sequence[str], Step], object]


def project_photos(
    photos: Sequence[Path | PhotoError],
    outdir: Path,
    network: str | Path | Generator | None = None,
    config: InvertConfig | None = None,
    options: BatchOptions | None = None,
    *,
    device: str | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Outcome]:
    """Invert photos into folders below ``outdir``; yields the outcome of each face when it is finished.

    Args:
        photos: files; errors in place of files become failed outcomes.
        outdir: created if needed.
        network: name, file or generator; None for the embedded one.
        config: of the inversions.
        options: see :class:`BatchOptions`.
        device: None for the generator's own, or the best available one.
        on_step: called with the names of the current photos and each step; returning False cancels.

    Raises:
        UsageError: invalid options.
        OutputError: ``outdir`` cannot be created.
        Cancelled: ``on_step`` returned False.
    """
    if options is not None and options.save_video:
        require_video_name(Path(VIDEO_FILE))  # raises before the work if ffmpeg is missing
    started = time.perf_counter()
    pipeline = Pipeline(network, config, device=device)
    loading = time.perf_counter() - started
    with output_errors(outdir):
        outdir.mkdir(parents=True, exist_ok=True)
    batch = _Batch(pipeline, options or BatchOptions(), FolderNames(outdir), loading)
    size = batch.options.batch_size or batch_size_for(pipeline.network)
    try:
        for photo in [*photos, None]:
            if photo is not None:
                yield from batch.read(photo)
            while batch.waiting and (photo is None or len(batch.waiting) >= size):
                tasks = batch.take(size)
                faces = pipeline.invert([task.prepared for task in tasks], batch.watcher(tasks, on_step))
                yield from batch.write(tasks, faces)
    finally:
        batch.close()


class _Batch:
    """The faces that wait to be inverted.

    Args:
        pipeline: for inverting them.
        options: see :class:`BatchOptions`.
        names: of the folders.
        loading: seconds for loading the pipeline, which are added to the first photo.
    """

    def __init__(self, pipeline: Pipeline, options: BatchOptions, names: FolderNames, loading: float) -> None:
        self.pipeline, self.options, self.names, self.loading = pipeline, options, names, loading
        self.waiting: list[_Task] = []
        self.claims: dict[tuple[str, int], _Task] = {}  # of the faces being inverted, by photo and face number

    def read(self, photo: Path | PhotoError) -> Iterator[Outcome]:
        """Read and align one photo, and add the faces that no earlier run has finished to the waiting ones."""
        if isinstance(photo, PhotoError):
            yield Outcome("failed", str(photo))
            return
        try:
            job = open_job(photo)
            outcomes = self._done_before(job)
            if outcomes is None:
                outcomes = self._open(job)
        except (PhotoError, OutputError) as error:
            outcomes = [Outcome("failed", str(error), photo)]
        yield from outcomes

    def close(self) -> None:
        """Release the folders of faces that were not inverted."""
        for task in self.claims.values():
            task.claim.release()
        self.claims = {}

    def take(self, count: int) -> list[_Task]:
        """The first ``count`` waiting faces, which then no longer wait."""
        tasks, self.waiting = self.waiting[:count], self.waiting[count:]
        return tasks

    def watcher(self, tasks: list[_Task], on_step: OnStep | None) -> Progress:
        """A callback that keeps frames for the videos and passes each step on to ``on_step``."""
        names = [task.job.photo.name for task in tasks]

        def watch(step: Step) -> object:
            if self.options.save_video and (step.index % max(1, step.total // VIDEO_FRAMES) == 0 or step.index == 1):
                for task, drawn in zip(tasks[step.first :], to_pixels(step.images), strict=False):
                    task.frames.append(_frame(task.prepared.aligned.image, drawn))
            return on_step(names, step) if on_step else None

        return watch

    def write(self, tasks: list[_Task], faces: list[InvertedFace]) -> Iterator[Outcome]:
        """Write the results of inverted faces."""
        for task, face in zip(tasks, faces, strict=True):
            if self.options.save_video:
                if not task.frames:
                    task.note = f"{task.note} {NO_STEPS}".strip()
                task.frames.append(_frame(face.aligned, to_pixels(face.drawn)[0]))  # the returned latents
            result = Result(
                face=face,
                preset=self.pipeline.config.preset,
                settings=self.pipeline.config.report(self.pipeline.network),
                photo=_origin(task),
                note=task.note,
                video=task.frames or None,
            )
            try:
                write_result(result, task.claim)
                yield Outcome("done", result.line(), task.job.photo, task.claim.folder, task.note)
            except OutputError as error:
                yield Outcome("failed", str(error), task.job.photo)
            finally:
                task.claim.release()
                self.claims.pop((task.job.digest, task.prepared.number), None)

    def _done_before(self, job: Job) -> list[Outcome] | None:
        """The outcomes of a photo none of whose faces is to be inverted, without reading it; None for other photos."""
        wanted = self._wanted(job)
        if wanted is None:
            return None
        outcomes = [self._decided(job, number) for number in wanted]
        return None if None in outcomes else [one for one in outcomes if one is not None]

    def _wanted(self, job: Job) -> list[int] | None:
        """The numbers of the wanted faces; None if the photo has to be read to know them."""
        config = self.pipeline.config
        if not config.align or config.face == "largest":
            return [1]
        if config.face != "all":
            return [config.face]
        report = finished_report(self.names.folder(job, 1)) or {}
        photo = report.get("photo")
        # Earlier versions counted the faces that were inverted, and wrote no list of files.
        known = photo.get("faces") if isinstance(photo, dict) and "files" in report else None
        return list(range(1, known + 1)) if isinstance(known, int) and known > 0 else None

    def _decided(self, job: Job, number: int) -> Outcome | None:
        """The outcome of a face that is finished, being inverted, or finished with other settings; else None."""
        at_work = self.claims.get((job.digest, number))
        if at_work is not None:
            return Outcome("skipped", f"the same photo as {at_work.job.photo}", job.photo, at_work.claim.folder)
        if self.options.overwrite:
            return None
        folder = self.names.folder(job, number)
        report = finished_report(folder)
        if report is None or not is_face(report, job, number):
            return None
        different = self._different(report)
        if not different:
            return Outcome("skipped", self._done_note(folder), job.photo, folder)
        message = (
            f"{folder} holds {job.photo.name} inverted with another {' and '.join(different)}. "
            "Add --overwrite to replace it, or choose another --outdir."
        )
        return Outcome("failed", message, job.photo)

    def _done_note(self, folder: Path) -> str:
        if self.options.save_video and not (folder / VIDEO_FILE).is_file():
            return "done before, without a video; --overwrite does it again and writes one"
        return "done before; --overwrite does it again"

    def _different(self, report: dict[str, object]) -> list[str]:
        """The settings with an influence on the result that differ from those of an earlier run."""
        config, network = self.pipeline.config, self.pipeline.network
        wanted = {
            "network": network_id(network),
            "preset": config.preset,
            "seed": config.seed,
            "settings": config.report(network),
        }
        settings = report.get("settings")
        if isinstance(settings, dict):  # earlier versions lack settings that did not exist yet
            wanted["settings"] = {name: value for name, value in config.report(network).items() if name in settings}
        return [name for name, value in wanted.items() if report.get(name) != value]

    def _open(self, job: Job) -> list[Outcome]:
        """Read a photo and claim folders for its faces; returns the outcomes of those that are not inverted."""
        started = time.perf_counter()
        photo = read_photo(job.photo, max_pixels=self.options.max_pixels)
        loading, self.loading = time.perf_counter() - started + self.loading, 0.0
        prepared = self.pipeline.prepare(photo)
        outcomes = []
        for face in prepared:
            face.seconds["load"] = loading / len(prepared)
            decided = self._decided(job, face.number)
            if decided is not None:
                outcomes.append(decided)
                continue
            try:
                task = _Task(job, self._claim(job, face.number), face, photo.note)
            except OutputError as error:
                outcomes.append(Outcome("failed", str(error), job.photo))
                continue
            self.claims[job.digest, face.number] = task
            self.waiting.append(task)
        return outcomes

    def _claim(self, job: Job, number: int) -> Claim:
        claim = self.names.claim(job, number)
        try:
            claim.require_room(name for name in INVERSION_FILES if name != VIDEO_FILE or self.options.save_video)
        except OutputError:
            claim.release()
            raise
        return claim


def _origin(task: _Task) -> dict[str, object]:
    """The photo of a face, as report.json records it."""
    return {
        "name": task.job.photo.name,
        "file": str(task.job.photo.absolute()),
        "sha256": task.job.digest,
        "face": task.prepared.number,
        "faces": task.prepared.faces,
    }


def _frame(target: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Target and drawn face side by side, enlarged if they are small."""
    return enlarged(np.concatenate([target, drawn], axis=1), VIDEO_SIDE)
