"""Trains an encoder, and writes and resumes its files. For `--out encoder.safetensors` these are

encoder.safetensors          the averaged encoder in half precision, replaced at each snapshot
encoder.state.safetensors    the training state for --resume, replaced at each snapshot
encoder.log.jsonl            one line for each tick
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from inversion.encoders.file import save_encoder
from inversion.encoders.training import EncoderSettings, EncoderTick, EncoderTrainer
from relatent.core.errors import DatasetError
from stylegan import load
from stylegan.formats.checkpoint import Provenance, load_strictly
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.loop import Schedule, log_path, run_to_end, state_path
from stylegan.training.state_file import Groups, moments_of, read_groups, read_progress, restore_moments, write_groups

STATE_FORMAT = "relatent-encoder-training-1"
GROUPS = ("encoder", "average", "first", "second")


def train_encoder(
    settings: EncoderSettings,
    out: Path,
    schedule: Schedule,
    *,
    device: torch.device,
    resume: bool = False,
    on_tick: Callable[[EncoderTick], None] | None = None,
    progress: bool = False,
) -> Path:
    """Train, or resume training; returns the path of the encoder.

    Args:
        settings: of the run.
        out: the encoder's file; its state and log are written beside it.
        schedule: when to stop and when to write; the learning rate schedule depends on its length.
        device: where to compute.
        resume: resume from the state beside ``out``.
        on_tick: called with each tick.
        progress: show a progress bar while reading the data.

    Raises:
        DatasetError: unusable data.
        CheckpointError: the generator or the state cannot be used.
        OutputError: results cannot be written.
    """
    network = load(settings.network)
    images = ImageDataset(Path(settings.data), network.resolution, settings.data_folder).load(progress)
    if len(images) < 1:
        raise DatasetError(f"{settings.data} holds no pictures.")
    trainer = EncoderTrainer(settings, network, images, schedule.kimg, device)
    if resume:
        load_state(trainer, state_path(out))
    run_to_end(trainer, log_path(out), schedule, lambda: write_snapshot(trainer, out), on_tick=on_tick)
    return out


def write_snapshot(trainer: EncoderTrainer, out: Path) -> None:
    """Write the averaged encoder and the state."""
    settings = trainer.settings
    provenance = Provenance(
        licence=settings.licence,
        attribution=settings.attribution,
        origin=f"trained on {trainer.images_seen} pictures by python -m inversion train-encoder, seed {settings.seed}",
    )
    save_encoder(trainer.average, out, provenance=provenance)
    groups: Groups = {
        "encoder": trainer.encoder.state_dict(),
        "average": trainer.average.state_dict(),
        "first": moments_of(trainer.encoder, trainer.optimizer, "exp_avg"),
        "second": moments_of(trainer.encoder, trainer.optimizer, "exp_avg_sq"),
    }
    metadata = {"settings": settings.to_json(), "step": str(trainer.step), "seconds": str(trainer.seconds)}
    write_groups(state_path(out), STATE_FORMAT, groups, metadata)


def read_settings(path: Path) -> EncoderSettings:
    """The settings of a saved state.

    Raises:
        CheckpointError: the file is not the state of an encoder's training.
    """
    return EncoderSettings.from_json(_read(path)[1].get("settings", ""), path)


def load_state(trainer: EncoderTrainer, path: Path) -> None:
    """Restore a saved state.

    Raises:
        CheckpointError: the file is not the state of an encoder's training, or of another encoder's.
    """
    groups, metadata = _read(path)
    for name in ("encoder", "average"):
        module = getattr(trainer, name)
        load_strictly(module, {key: tensor.to(trainer.device) for key, tensor in groups[name].items()}, path)
    trainer.step, trainer.seconds = read_progress(metadata, path)
    restore_moments(trainer.encoder, trainer.optimizer, groups["first"], groups["second"], trainer.step, path)


def _read(path: Path) -> tuple[Groups, dict[str, str]]:
    return read_groups(path, STATE_FORMAT, GROUPS, "an encoder's training")
