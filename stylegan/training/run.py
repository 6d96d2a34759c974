"""Runs a training, and writes and resumes its files:

settings.json                  the settings
log.jsonl                      one line for each tick
samples-000064.png             samples of the averaged generator, here after 64,000 pictures
network-000064.safetensors     the averaged generator at the same time
training-state.safetensors     the state for --resume; replaced at each snapshot
index.html                     all of it as a page, redrawn at each snapshot
interpolation.mp4              the last network along a path through random latents, at the end
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from relatent.core.errors import DatasetError
from relatent.core.files import output_errors, write_bytes
from relatent.core.images import encode_png, grid
from stylegan.formats.checkpoint import Provenance, save_generator
from stylegan.training import processes
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.growth import settled
from stylegan.training.loop import Schedule, run_to_end
from stylegan.training.report.page import LOG_FILE, write_report
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import load_smaller, load_state, save_state
from stylegan.training.tick import Tick
from stylegan.training.trainer import Trainer
from stylegan.training.transfer import begin_with
from stylegan.training.validation import Validation

STATE_FILE = "training-state.safetensors"
SAMPLE_COLUMNS = 12  # 12 by 8 faces fill a screen
SAMPLE_ROWS = 8
SAMPLE_SEED = 1000  # of the latents of all samples, so that they can be compared


def train(
    settings: TrainingSettings,
    outdir: Path,
    schedule: Schedule,
    *,
    device: torch.device,
    resume: Path | None = None,
    grow_from: Path | None = None,
    begin_from: str | None = None,
    minutes: float | None = None,
    validation: Validation | None = None,
    on_tick: Callable[[Tick], None] | None = None,
    progress: bool = False,
) -> Path:
    """Train, or go on training, and return the path of the last network written.

    Args:
        settings: the run's choices.
        outdir: folder for all results; made if needed.
        schedule: when to stop and when to write.
        device: where to compute.
        resume: a state file to go on from; None to start afresh.
        grow_from: the state of a run at half the resolution to begin with, for settings made by
            :func:`stylegan.training.growth.grown_settings`; of no account to a resumed run.
        begin_from: a network's name or file to begin with, for settings made by
            :func:`stylegan.training.transfer.transfer_settings`; of no account to a resumed run.
        minutes: take no further step when so many minutes have passed since the call, even if the schedule's end has
            not come; results are then written as at any other end. None for no limit.
        validation: measures each snapshot's distance to pictures kept back, for the log.
        on_tick: called with each line of the log.
        progress: show a bar while reading the data.

    Raises:
        DatasetError: unusable data.
        CheckpointError: unusable state.
        OutputError: results cannot be written.
        RelatentError: training diverged.
    """
    until = time.monotonic() + (math.inf if minutes is None else minutes * 60)
    with _new_folder(outdir):
        trainer = open_trainer(settings, device, progress=progress)
        if resume is not None:
            load_state(trainer, resume)
        elif grow_from is not None:
            load_smaller(trainer, grow_from)
        elif begin_from is not None:
            begin_with(trainer, begin_from)
        if processes.is_main():
            write_bytes(outdir / "settings.json", settings.to_json().encode())

    def with_distance(tick: Tick) -> Tick:
        assert validation is not None
        return dataclasses.replace(tick, distance=round(validation.distance(trainer.average), 3))

    def agreed(late: bool) -> bool:
        return until < math.inf and processes.agreed(late, device)

    if not processes.is_main():
        return run_to_end(trainer, None, schedule, lambda: outdir, until=until, agreed=agreed)
    return run_to_end(
        trainer,
        outdir / LOG_FILE,
        schedule,
        lambda: write_snapshot(trainer, outdir),
        until=until,
        agreed=agreed,
        before_snapshot=with_distance if validation else None,
        on_tick=on_tick,
    )


def open_trainer(settings: TrainingSettings, device: torch.device, *, progress: bool = False) -> Trainer:
    """A trainer at step 0, with its data in memory.

    Raises:
        DatasetError: the data are damaged, too few, or lack the classes that the settings require.
    """
    return Trainer(settings, *open_pictures(settings, progress=progress), device)


def open_pictures(settings: TrainingSettings, *, progress: bool = False) -> tuple[Tensor, Tensor | None]:
    """The pictures of a run, uint8 [N, C, R, R], and their classes, int64 [N], if its networks have any.

    Raises:
        DatasetError: as :func:`open_trainer`.
    """
    dataset = ImageDataset(Path(settings.data), settings.generator.resolution, settings.data_folder)
    wanted = settings.generator.c_dim
    classes = dataset.labels() if wanted else None
    found = 0 if classes is None else int(classes.max()) + 1
    if wanted and not 0 < found <= wanted:
        raise DatasetError(
            f"{settings.data} names {found} classes and the network has {wanted}. "
            "Describe every picture's class in dataset.json, or train without classes."
        )
    if len(dataset) < settings.batch:
        raise DatasetError(
            f"{settings.data} holds {len(dataset)} pictures, fewer than the batch of {settings.batch}. "
            "Use more pictures or a smaller batch."
        )
    return dataset.load(progress, settings.generator.img_channels), classes


def open_validation(settings: TrainingSettings, folder: str, device: torch.device) -> Validation:
    """The validation pictures of a run, those below ``folder`` of its data.

    Raises:
        DatasetError: there are none, or they are also used for training.
    """
    data, side = Path(settings.data), settings.generator.resolution
    kept_back = ImageDataset(data, side, folder)
    shared = set(kept_back.names) & set(ImageDataset(data, side, settings.data_folder).names)
    if shared:
        raise DatasetError(
            f"{len(shared)} pictures of the validation folder {folder!r} are trained on, too, {min(shared)} for one. "
            "Name another folder to train on with --data-folder."
        )
    return Validation(kept_back.load(), device)


def write_snapshot(trainer: Trainer, outdir: Path) -> Path:
    """Write samples, network and state; returns the network's path."""
    stamp = f"{round(trainer.images_seen / 1000):06d}"
    trainer.average.recompute_w_avg()
    write_bytes(outdir / f"samples-{stamp}.png", encode_png(sample_grid(trainer)))
    settings = trainer.settings
    began = f", begun with {settings.origin}" if settings.origin else ""
    grown = f", grown from {settings.growth.origin}" if settings.growth else ""
    provenance = Provenance(
        licence=settings.licence,
        attribution=settings.attribution,
        origin=f"trained on {trainer.images_seen} pictures by python -m stylegan train{began}{grown}",
    )
    network = outdir / f"network-{stamp}.safetensors"
    save_generator(settled(trainer.average), network, provenance=provenance)
    save_state(trainer, outdir / STATE_FILE)
    with suppress(DatasetError):  # a run of no step has no curves
        write_report(outdir)
    return network


@torch.no_grad()
def sample_grid(trainer: Trainer, truncation_psi: float = 1.0) -> np.ndarray:
    """Samples of the averaged generator from fixed latents, uint8 [SAMPLE_ROWS * R, SAMPLE_COLUMNS * R, 3]."""
    w = trainer.average.sample_w(SAMPLE_COLUMNS * SAMPLE_ROWS, SAMPLE_SEED)
    ws = trainer.average.mapping.truncate(w, truncation_psi)
    images = [trainer.average.synthesis(chunk) for chunk in ws.split(16)]
    return grid(torch.cat(images).cpu(), SAMPLE_COLUMNS)


@contextmanager
def _new_folder(outdir: Path) -> Iterator[None]:
    """Create ``outdir`` first, so that missing permissions show early; remove it again if the run cannot start."""
    existed = outdir.exists()
    with output_errors(outdir):
        outdir.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not existed:
            with suppress(OSError):  # not empty: something has been written already
                outdir.rmdir()
        raise
