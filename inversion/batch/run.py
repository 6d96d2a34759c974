"""Many photos to many folders: one bad photo is reported and never shifts or stops the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from inversion.batch.jobs import FolderNames, Job, open_job
from inversion.batch.report import Result, read_report, write_result
from inversion.config import ProjectOptions
from inversion.encoders.encoder import Encoder
from inversion.losses.perceptual import load_perceptual
from inversion.masks import mask_of
from inversion.metrics import measure
from inversion.optim.projector import Step
from inversion.percentiles import MeasuredFaces, measured_faces
from inversion.pipeline import crop_faces, invert_images, open_network
from inversion.stages import encoder_for
from relatent.core.errors import OutputError, PhotoError
from relatent.core.files import output_errors
from relatent.core.images import read_photo, to_pixels, to_tensor
from relatent.core.precision import check_precision
from relatent.core.video import enlarged
from relatent.face import AlignedFace
from stylegan import network_id
from stylegan.networks.generator import Generator

VIDEO_FRAMES = 120
VIDEO_SIDE = 256


@dataclass(frozen=True)
class Outcome:
    """What became of one face.

    Attributes:
        status: "done", "skipped" because an earlier run has done it, or "failed".
        message: the measures, or the reason.
        photo: the file; None where an error stood in its place.
        folder: where the results are; None if it failed.
        note: what a person should know about how the photo was read; empty if nothing.
    """

    status: str
    message: str
    photo: Path | None = None
    folder: Path | None = None
    note: str = ""


@dataclass
class _Task:
    """A face waiting for its turn."""

    job: Job
    folder: Path
    aligned: AlignedFace
    face: int
    faces: int
    note: str
    seconds: dict[str, float]
    mask: torch.Tensor | None = None
    frames: list[np.ndarray] = field(default_factory=list)


OnStep = Callable[[Sequence[str], Step], object]


def project_photos(
    photos: Sequence[Path | PhotoError],
    outdir: Path,
    network: str | Path | Generator | None = None,
    options: ProjectOptions | None = None,
    *,
    device: str | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Outcome]:
    """Invert photos into folders below ``outdir``, yielding each face's outcome as it is known.

    Args:
        photos: files; an error in a file's place is passed on as its outcome.
        outdir: made if needed.
        network: name, file or generator; None for the embedded one.
        options: see :class:`ProjectOptions`.
        device: None for the best there is.
        on_step: sees the names of the photos at work and each step; returning False cancels.

    Raises:
        UsageError: options that cannot be meant.
        OutputError: ``outdir`` cannot be written at all.
        Cancelled: ``on_step`` returned False.
    """
    options = options or ProjectOptions()
    started = time.perf_counter()
    generator = open_network(network, device)
    plan = options.plan(generator)
    check_precision(plan.precision, generator.w_avg.device)
    load_perceptual(options.lpips, generator.w_avg.device)
    encoder = encoder_for(generator, plan, options.encoder)  # before any photo is read, and once for all batches
    loading = time.perf_counter() - started
    with output_errors(outdir):
        outdir.mkdir(parents=True, exist_ok=True)
    session = _Session(generator, options, FolderNames(outdir), on_step)
    session.encoder, session.loading = encoder, loading
    if options.mask is None and options.encoder is None and options.preconditioner is None:
        session.others = measured_faces(generator, options.preset, plan)
    for photo in photos:
        yield from session.take(photo)
    yield from session.flush()


class _Session:
    """Collects faces into batches and carries them through."""

    def __init__(self, network: Generator, options: ProjectOptions, names: FolderNames, on_step: OnStep | None) -> None:
        self.network, self.options, self.names, self.on_step = network, options, names, on_step
        self.encoder: Encoder | None = None
        self.others: MeasuredFaces | None = None
        self.waiting: list[_Task] = []
        self.loading = 0.0

    def take(self, photo: Path | PhotoError) -> Iterator[Outcome]:
        """Read and align one photo; a full batch is worked off."""
        if isinstance(photo, PhotoError):
            yield Outcome("failed", str(photo))
            return
        try:
            job = open_job(photo)
            done = self._done_before(job)
            if done is not None:
                yield from done
                return
            self.waiting.extend(self._tasks(job))
        except (PhotoError, OutputError) as error:
            yield Outcome("failed", str(error), photo)
            return
        while len(self.waiting) >= self.options.batch_size:
            yield from self.flush(self.options.batch_size)

    def flush(self, count: int | None = None) -> Iterator[Outcome]:
        """Invert, measure and write the faces that wait, at most ``count`` of them."""
        tasks = self.waiting[:count]
        self.waiting = self.waiting[len(tasks) :]
        while tasks:
            batch, tasks = tasks[: self.options.batch_size], tasks[self.options.batch_size :]
            for task, result in zip(batch, self._invert(batch), strict=True):
                try:
                    write_result(result, task.folder)
                    yield Outcome("done", result.line(), task.job.photo, task.folder, task.note)
                except OutputError as error:
                    yield Outcome("failed", str(error), task.job.photo)

    def _done_before(self, job: Job) -> list[Outcome] | None:
        """Outcomes of a photo that an earlier run has finished; None if there is work to do."""
        if self.options.overwrite:
            return None
        face = self.options.face if isinstance(self.options.face, int) else 1
        folder = self.names.folder(job, face)
        report = read_report(folder)
        if report is None:
            return None
        self._check_same(report, job, folder)
        count = int(report["photo"]["faces"]) if self.options.face == "all" else 1  # type: ignore[index]
        folders = [self.names.folder(job, number) for number in range(1, count + 1)] if count > 1 else [folder]
        if not all(read_report(one) for one in folders):
            return None
        return [Outcome("skipped", "done before; --overwrite does it again", job.photo, one) for one in folders]

    def _check_same(self, report: dict[str, object], job: Job, folder: Path) -> None:
        wanted = {
            "network": network_id(self.network),
            "preset": self.options.preset,
            "seed": self.options.seed,
            "settings": self.options.settings(self.network),
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
        loading = time.perf_counter() - started + self.loading
        self.loading = 0.0  # the network's loading is counted once, with the first photo
        started = time.perf_counter()
        crops = crop_faces(photo, self.network, align=self.options.align, which=self.options.face)
        choice, alignment = self.options.mask, self.network.alignment
        masks = [None if choice is None else mask_of(choice, one, photo, alignment) for one in crops]
        aligning = time.perf_counter() - started
        first = self.options.face if isinstance(self.options.face, int) else 1
        return [
            _Task(
                job=job,
                folder=self.names.folder(job, number),
                aligned=aligned,
                face=number,
                faces=len(crops),
                note=photo.note,
                seconds={"load": loading / len(crops), "align": aligning / len(crops)},
                mask=mask,
            )
            for number, (aligned, mask) in enumerate(zip(crops, masks, strict=True), start=first)
        ]

    def _invert(self, tasks: list[_Task]) -> Iterator[Result]:
        images = torch.cat([to_tensor(task.aligned.image) for task in tasks])
        options = self.options
        seconds: dict[str, float] = {}
        inversions = invert_images(
            images,
            self.network,
            preset=options.preset,
            space=options.space,
            num_steps=options.num_steps,
            seed=options.seed,
            encoder=self.encoder,
            preconditioner=options.preconditioner,
            masks=None if options.mask is None else torch.cat([task.mask for task in tasks if task.mask is not None]),
            lpips=options.lpips,
            precision=options.precision,
            progress=lambda step: self._watch(tasks, step),
            seconds=seconds,
        )
        shares = {stage: value / len(tasks) for stage, value in seconds.items()}
        perceptual = load_perceptual(options.lpips, self.network.w_avg.device)
        for task, inversion, image in zip(tasks, inversions, images.split(1), strict=True):
            started = time.perf_counter()
            alignment = self.network.alignment if options.align else None
            drawn = inversion.tensor(self.network)
            quality = measure(drawn, image, perceptual, alignment)
            task.seconds |= {**shares, "measure": time.perf_counter() - started}
            yield Result(
                inversion=inversion.replace(face_to_photo=task.aligned.face_to_photo, photo=task.job.photo.name),
                drawn=drawn,
                target=task.aligned.image,
                quality=quality,
                seconds=task.seconds,
                preset=options.preset,
                settings=options.settings(self.network),
                photo={
                    "name": task.job.photo.name,
                    "file": str(task.job.photo.absolute()),
                    "sha256": task.job.digest,
                    "face": task.face,
                    "faces": task.faces,
                },
                note=task.note,
                percentile=self.others.percentile(quality.lpips, quality.lpips_trunk) if self.others else None,
                video=task.frames or None,
            )

    def _watch(self, tasks: list[_Task], step: Step) -> object:
        if self.options.save_video and (step.index % max(1, step.total // VIDEO_FRAMES) == 0 or step.index == 1):
            for task, drawn in zip(tasks, to_pixels(step.images), strict=True):
                task.frames.append(_frame(task.aligned.image, drawn))
        return self.on_step([task.job.photo.name for task in tasks], step) if self.on_step else None


def _frame(target: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Target and drawn face side by side, small ones enlarged so that players show them."""
    return enlarged(np.concatenate([target, drawn], axis=1), VIDEO_SIDE)
