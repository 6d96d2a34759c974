"""Runs a training, and writes and resumes its files:

settings.json                  the settings
log.jsonl                      one line for each tick
samples-000064.png             samples of the averaged generator, here after 64,000 pictures
network-000064.safetensors     the averaged generator at the same time
training-state.safetensors     the state for --resume; replaced at each snapshot
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from relatent.core.errors import DatasetError, RelatentError
from relatent.core.files import output_errors, write_bytes
from relatent.core.images import encode_png, grid
from stylegan.bounds import require_number, require_whole
from stylegan.formats.checkpoint import Provenance, save_generator
from stylegan.training.dataset import ImageDataset
from stylegan.training.growth import settled
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import load_smaller, load_state, save_state
from stylegan.training.trainer import Tick, Trainer
from stylegan.training.validation import Validation

STATE_FILE = "training-state.safetensors"
LOG_FILE = "log.jsonl"
SAMPLE_COLUMNS = 12
SAMPLE_ROWS = 8
SAMPLE_SEED = 1000


@dataclass(frozen=True)
class Schedule:
    """How long a run goes on and when it writes.

    Attributes:
        kimg: stop after this many thousand pictures, counted from the very start.
        tick_kimg: write a line of the log this often.
        snapshot_ticks: write samples, network and state every this many ticks, and at the end.
    """

    kimg: float
    tick_kimg: float = 4.0
    snapshot_ticks: int = 8

    def __post_init__(self) -> None:
        require_number("kimg", self.kimg, 0)
        require_number("tick_kimg", self.tick_kimg, 1e-3)
        require_whole("snapshot_ticks", self.snapshot_ticks, 1, 10**9)


def train(
    settings: TrainingSettings,
    outdir: Path,
    schedule: Schedule,
    *,
    device: torch.device,
    resume: Path | None = None,
    grow_from: Path | None = None,
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
        validation: measures each snapshot's distance to pictures kept back, for the log.
        on_tick: called with each line of the log.
        progress: show a bar while reading the data.

    Raises:
        DatasetError: unusable data.
        CheckpointError: unusable state.
        OutputError: results cannot be written.
        RelatentError: training diverged.
    """
    with _new_folder(outdir):
        trainer = open_trainer(settings, device, progress=progress)
        if resume is not None:
            load_state(trainer, resume)
        elif grow_from is not None:
            load_smaller(trainer, grow_from)
        write_bytes(outdir / "settings.json", settings.to_json().encode())
        _start_log(outdir / LOG_FILE, trainer.images_seen / 1000)
    return _go_on(trainer, outdir, schedule, validation, on_tick)


def _go_on(
    trainer: Trainer,
    outdir: Path,
    schedule: Schedule,
    validation: Validation | None,
    on_tick: Callable[[Tick], None] | None,
) -> Path:
    """Train to the schedule's end and write on the way; the path of the last network."""
    end = schedule.kimg * 1000
    network = write_snapshot(trainer, outdir) if trainer.images_seen >= end else None
    ticks = 0
    while trainer.images_seen < end:
        tick = trainer.run_tick(round(min(schedule.tick_kimg * 1000, end - trainer.images_seen)))
        ticks += 1
        snapshot = ticks % schedule.snapshot_ticks == 0 or trainer.images_seen >= end
        if snapshot and validation:
            tick = dataclasses.replace(tick, distance=round(validation.distance(trainer.average), 3))
        _write_log(outdir / LOG_FILE, tick)
        if on_tick:
            on_tick(tick)
        if snapshot:
            network = write_snapshot(trainer, outdir)
    assert network is not None
    return network


def open_trainer(settings: TrainingSettings, device: torch.device, *, progress: bool = False) -> Trainer:
    """A trainer at step 0, with its data in memory.

    Raises:
        DatasetError: the data are damaged, too few, or lack the classes that the settings require.
    """
    dataset = ImageDataset(Path(settings.data), settings.generator.resolution, settings.data_folder)
    wanted = settings.generator.c_dim
    if wanted and (dataset.classes is None or dataset.num_classes > wanted):
        raise DatasetError(
            f"{settings.data} names {dataset.num_classes} classes and the network has {wanted}. "
            "Describe every picture's class in dataset.json, or train without classes."
        )
    if len(dataset) < settings.batch:
        raise DatasetError(
            f"{settings.data} holds {len(dataset)} pictures, fewer than the batch of {settings.batch}. "
            "Use more pictures or a smaller batch."
        )
    return Trainer(settings, dataset.load(progress), dataset.classes if wanted else None, device)


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
    grown = f", grown from {settings.growth.origin}" if settings.growth else ""
    provenance = Provenance(
        licence=settings.licence,
        attribution=settings.attribution,
        origin=f"trained on {trainer.images_seen} pictures by python -m stylegan train{grown}",
    )
    network = outdir / f"network-{stamp}.safetensors"
    save_generator(settled(trainer.average), network, provenance=provenance)
    save_state(trainer, outdir / STATE_FILE)
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


def _start_log(file: Path, kimg: float) -> None:
    """Drop the lines of the log after the resumed state, which a killed run may have written."""
    with output_errors(file):
        lines = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in lines if _kimg_of(line) <= kimg]
    write_bytes(file, "".join(f"{line}\n" for line in kept).encode())


def _kimg_of(line: str) -> float:
    try:
        return float(json.loads(line)["kimg"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # an incomplete line of a killed run


def _write_log(file: Path, tick: Tick) -> None:
    """Append a line; if training has diverged, stop before a snapshot replaces the last good state."""
    values = {name: value for name, value in dataclasses.asdict(tick).items() if value is not None}
    if not all(map(math.isfinite, values.values())):
        raise RelatentError(
            f"training diverged before {tick.kimg:g} kimg: the losses are no longer finite. Go on from the last state "
            "(--resume) or start again, with a smaller --lr, a larger --gamma or --precision float32."
        )
    with output_errors(file), file.open("a") as log:
        log.write(json.dumps(values) + "\n")
