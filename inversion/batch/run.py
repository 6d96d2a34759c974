"""Inverts many photos into folders; errors of a photo are reported and do not stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inversion.batch.jobs import FolderNames, Job, open_job
from inversion.batch.report import VIDEO_FILE, Result, read_report, write_result
from inversion.config import InvertConfig
from inversion.optim.projector import Step
from inversion.pipeline import Pipeline, PreparedFace, batch_size_for
from relatent.core.errors import OutputError, PhotoError
from relatent.core.files import output_errors
from relatent.core.images import MAX_PIXELS, read_photo, to_pixels
from relatent.core.video import enlarged, require_video_name
from stylegan import network_id
from stylegan.networks.generator import Generator

NO_STEPS = "With this preset and network there are no steps to show: proj.mp4 shows the result alone."
VIDEO_FRAMES = 120
VIDEO_SIDE = 256


@dataclass(frozen=True)
class BatchOptions:
    """Options of a batch, in addition to :class:`InvertConfig`.

    Attributes:
        overwrite: invert finished photos again.
        save_video: write the pictures of the optimisation as proj.mp4.
        batch_size: photos optimised together; None for 4, and 1 above 256 px.
        max_pixels: larger photos are not decoded.
    """

    overwrite: bool = False
    save_video: bool = False
    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS


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
    """A prepared face that waits to be inverted."""

    job: Job
    folder: Path
    prepared: PreparedFace
    number: int
    faces: int
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
        require_video_name(Path(VIDEO_FILE))  # that there is ffmpeg is better known before the work
    started = time.perf_counter()
    pipeline = Pipeline(network, config, device=device)
    loading = time.perf_counter() - started
    with output_errors(outdir):
        outdir.mkdir(parents=True, exist_ok=True)
    batch = _Batch(pipeline, options or BatchOptions(), FolderNames(outdir), loading)
    size = batch.options.batch_size or batch_size_for(pipeline.network)
    for photo in photos:
        yield from batch.read(photo)
        while len(batch.waiting) >= size:
            yield from batch.write(size, on_step)
    if batch.waiting:
        yield from batch.write(size, on_step)


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

    def read(self, photo: Path | PhotoError) -> Iterator[Outcome]:
        """Read and align one photo, and append its faces to ``waiting`` unless an earlier run has finished them."""
        if isinstance(photo, PhotoError):
            yield Outcome("failed", str(photo))
            return
        try:
            job = open_job(photo)
            done = self._done_before(job)
            if done is None:
                self.waiting.extend(self._tasks(job))
        except (PhotoError, OutputError) as error:
            yield Outcome("failed", str(error), photo)
            return
        yield from done or []

    def write(self, count: int, on_step: OnStep | None) -> Iterator[Outcome]:
        """Invert the first ``count`` waiting faces, and write their results."""
        tasks, self.waiting = self.waiting[:count], self.waiting[count:]
        names = [task.job.photo.name for task in tasks]

        def watch(step: Step) -> object:
            if self.options.save_video and (step.index % max(1, step.total // VIDEO_FRAMES) == 0 or step.index == 1):
                for task, drawn in zip(tasks, to_pixels(step.images), strict=True):
                    task.frames.append(_frame(task.prepared.aligned.image, drawn))
            return on_step(names, step) if on_step else None

        inverted = self.pipeline.invert([task.prepared for task in tasks], watch)
        for task, face in zip(tasks, inverted, strict=True):
            if self.options.save_video:
                if not task.frames:
                    task.note = f"{task.note} {NO_STEPS}".strip()
                task.frames.append(_frame(face.aligned, to_pixels(face.drawn)[0]))  # what was kept
            result = Result(
                face=face,
                preset=self.pipeline.config.preset,
                settings=self.pipeline.config.report(self.pipeline.network),
                photo=_origin(task),
                note=task.note,
                video=task.frames or None,
            )
            try:
                write_result(result, task.folder)
                yield Outcome("done", result.line(), task.job.photo, task.folder, task.note)
            except OutputError as error:
                yield Outcome("failed", str(error), task.job.photo)

    def _done_before(self, job: Job) -> list[Outcome] | None:
        """Outcomes of a photo that an earlier run has finished; None if it must be inverted."""
        if self.options.overwrite:
            return None
        which = self.pipeline.config.face
        folder = self.names.folder(job, which if isinstance(which, int) else 1)
        report = read_report(folder)
        if report is None:
            return None
        self._check_same(report, job, folder)
        count = int(report["photo"]["faces"]) if which == "all" else 1  # type: ignore[index]
        folders = [self.names.folder(job, number) for number in range(1, count + 1)] if count > 1 else [folder]
        if not all(read_report(one) for one in folders):
            return None
        return [Outcome("skipped", self._done_note(one), job.photo, one) for one in folders]

    def _done_note(self, folder: Path) -> str:
        if self.options.save_video and not (folder / VIDEO_FILE).is_file():
            return "done before, without a video; --overwrite does it again and writes one"
        return "done before; --overwrite does it again"

    def _check_same(self, report: dict[str, object], job: Job, folder: Path) -> None:
        config, network = self.pipeline.config, self.pipeline.network
        wanted = {
            "network": network_id(network),
            "preset": config.preset,
            "seed": config.seed,
            "settings": config.report(network),
        }
        different = [name for name, value in wanted.items() if report.get(name) != value]
        if different:
            raise OutputError(
                f"{folder} holds {job.photo.name} inverted with another {' and '.join(different)}. "
                "Add --overwrite to replace it, or choose another --outdir."
            )

    def _tasks(self, job: Job) -> list[_Task]:
        started = time.perf_counter()
        photo = read_photo(job.photo, max_pixels=self.options.max_pixels)
        loading, self.loading = time.perf_counter() - started + self.loading, 0.0
        prepared = self.pipeline.prepare(photo)
        for face in prepared:
            face.seconds["load"] = loading / len(prepared)
        which = self.pipeline.config.face
        first = which if isinstance(which, int) else 1
        return [
            _Task(job, self.names.folder(job, number), face, number, len(prepared), photo.note)
            for number, face in enumerate(prepared, start=first)
        ]


def _origin(task: _Task) -> dict[str, object]:
    """The photo of a face, as report.json records it."""
    return {
        "name": task.job.photo.name,
        "file": str(task.job.photo.absolute()),
        "sha256": task.job.digest,
        "face": task.number,
        "faces": task.faces,
    }


def _frame(target: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Target and drawn face side by side, enlarged if they are small."""
    return enlarged(np.concatenate([target, drawn], axis=1), VIDEO_SIDE)
