"""Inverts many photos into folders; errors of a photo are reported and do not stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inversion.batch.auto import Auto
from inversion.batch.engine import Engine, Wanted
from inversion.batch.here import Here
from inversion.batch.inverter import Inverter, InvertWork, work_of
from inversion.batch.opening import opened_manifest
from inversion.batch.report import VIDEO_FILE
from inversion.batch.requests import Executor, OnStep, Outcome
from inversion.batch.workers import Workers
from inversion.config import InvertConfig
from inversion.pipeline import Pipeline
from relatent.core.errors import PhotoError, UsageError
from relatent.core.images import MAX_PIXELS
from relatent.core.numbers import as_whole
from relatent.core.options import described
from relatent.core.video import require_video_name
from stylegan.networks.generator import Generator

__all__ = ["BatchOptions", "Outcome", "project_photos"]


@dataclass(frozen=True)
class BatchOptions:
    """Options of a batch, in addition to :class:`InvertConfig`.

    Raises:
        UsageError: a number that is out of range.
    """

    batch_size: int | None = field(
        default=None,
        metadata=described(
            "Photos optimised together.  [default: on a CPU 4 in a worker process up to 256 px, else 1; with a GPU up "
            "to 4, as memory allows]",
            least=1,
        ),
    )
    workers: int | None = field(
        default=0,
        metadata=described(
            "Worker processes: on a CPU each inverts, in one thread; with a GPU they read and align photos. "
            "0: none.  [default: by the number of photos, processors and the network's size]",
            least=0,
            default=None,
        ),
    )
    ray: str | None = field(
        default=None,
        metadata=described(
            "Invert on a Ray cluster: auto for the one this machine belongs to, its ADDRESS, or local for one that is "
            "started here.",
            metavar="auto|ADDRESS|local",
        ),
    )
    ray_photos: str = field(
        default="path",
        metadata=described(
            "How photos get to the machines of a Ray cluster: by their path, which all can read, or through its object "
            "store.",
            choices=("path", "store"),
        ),
    )
    save_video: bool = field(default=False, metadata=described("Also write proj.mp4."))
    overwrite: bool = field(
        default=False,
        metadata=described("Redo photos that are done already; only files that Relatent wrote are replaced."),
    )
    retry_failed: bool = field(default=False, metadata=described("Try photos again that have failed before."))
    max_pixels: int = field(default=MAX_PIXELS, metadata=described("Larger photos are not decoded.", option=False))

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", as_whole("batch_size", self.batch_size, 1, 2**16))
        if self.workers is not None:
            object.__setattr__(self, "workers", as_whole("workers", self.workers, 0, 2**12))
        if self.ray_photos not in ("path", "store"):
            raise UsageError(f"ray_photos is {self.ray_photos!r:.60}; expected path or store.")


def project_photos(
    photos: Iterable[Path | PhotoError],
    outdir: Path,
    network: str | Path | Generator | None = None,
    config: InvertConfig | None = None,
    options: BatchOptions | None = None,
    *,
    device: str | None = None,
    on_step: OnStep | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Invert photos into folders below ``outdir``; yields the outcome of each face when it is finished.

    `OUTDIR/manifest.sqlite` says what is done. Photos and results are not held in memory, and it does not matter when
    the process is killed: the next call goes on.

    Args:
        photos: files; errors in place of files become failed outcomes.
        outdir: created if needed.
        network: name, file or generator; None for the embedded one. Worker processes need a name or a file.
        config: of the inversions.
        options: see :class:`BatchOptions`.
        device: None for the generator's own, or the best available one.
        on_step: called with the names of the current photos and each step, where this process inverts; returning
            False cancels.
        stop: asked before each photo; when it returns True, photos in hand are finished and no more begun.

    Raises:
        UsageError: invalid options.
        OutputError: ``outdir`` cannot be written, or another run is writing to it.
        NoSpaceError: the disk is full; what was done before is kept.
        Cancelled: ``on_step`` returned False.
    """
    options, config = options or BatchOptions(), config or InvertConfig()
    if options.save_video:
        require_video_name(Path(VIDEO_FILE))  # raises before the work if ffmpeg is missing
    started = time.perf_counter()
    pipeline = Pipeline(network, config, device=device)
    work = work_of(
        pipeline, network, device=device, batch_size=options.batch_size, save_video=options.save_video,
        max_pixels=options.max_pixels,
    )  # fmt: skip
    inverter = Inverter(work, pipeline, work.batch_size, time.perf_counter() - started)
    inverter.on_step = on_step
    executor = _executor(inverter, work, options, stop)
    wanted = Wanted(
        work.settings,
        face=config.face if config.align else "largest",  # without alignment a photo is one face
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
        save_video=options.save_video,
        hash_first=options.ray is None,
    )
    with opened_manifest(outdir) as manifest:
        yield from Engine(manifest, wanted, stop).run(photos, executor)


def _executor(inverter: Inverter, work: InvertWork, options: BatchOptions, stop: Callable[[], bool]) -> Executor:
    count = options.workers or 0
    if (count or options.ray) and isinstance(work.network, Generator):
        raise UsageError("worker processes need the network as a name or a file, and a generator came. Use workers=0.")
    if options.ray:
        from inversion.batch.ray_data import RayExecutor

        return RayExecutor(options.ray, work, count or None, photos=options.ray_photos, stop=stop)
    if options.workers is None and not isinstance(work.network, Generator):
        return Auto(inverter)
    if inverter.pipeline.network.w_avg.device.type != "cpu":
        return Here(inverter, readers=count)
    return Workers(count, work, work.worker_batch_size) if count else Here(inverter)
