"""Trains a backbone, and writes and resumes its files. For `--out backbone.safetensors` these are

backbone.safetensors          the averaged student in half precision, replaced at each snapshot
backbone.state.safetensors    everything needed to go on, replaced with it
backbone.log.jsonl            one line a tick
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save

from inversion.backbone.trainer import BackboneSettings, BackboneTick, BackboneTrainer
from relatent.core.errors import CheckpointError
from relatent.core.files import write_bytes
from stylegan.formats.checkpoint import load_strictly
from stylegan.networks.backbone import FORMAT
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.loop import Schedule, log_path, run_to_end, state_path
from stylegan.training.state_file import Groups, read_groups, read_progress, write_groups

STATE_FORMAT = "relatent-trunk-training-1"
GROUPS = ("student", "average", "momentum", "first", "second")
SOURCE_SIZE = 128  # pixels of the pictures that crops are cut from


def train_backbone(
    settings: BackboneSettings,
    out: Path,
    schedule: Schedule,
    *,
    device: torch.device,
    resume: bool = False,
    on_tick: Callable[[BackboneTick], None] | None = None,
    progress: bool = False,
) -> Path:
    """Train, or resume training; returns the path of the backbone.

    Args:
        settings: of the run.
        out: the backbone's file; its state and log are written beside it.
        schedule: when to stop and when to write; the learning rate schedule depends on its length.
        device: where to compute.
        resume: resume from the state beside ``out``.
        on_tick: called with each tick.
        progress: show a progress bar while reading the data.

    Raises:
        DatasetError: unusable data.
        CheckpointError: the teacher or the state cannot be used.
        OutputError: results cannot be written.
    """
    images = ImageDataset(Path(settings.data), SOURCE_SIZE, settings.data_folder).load(progress)
    trainer = BackboneTrainer(settings, images, schedule.kimg, device)
    if resume:
        load_state(trainer, state_path(out))

    def write_snapshot() -> None:
        save_backbone(trainer, out)
        save_state(trainer, state_path(out))

    run_to_end(trainer, log_path(out), schedule, write_snapshot, on_tick=on_tick)
    return out


def save_backbone(trainer: BackboneTrainer, path: Path) -> None:
    """Write the averaged student in half precision."""
    settings = trainer.settings
    metadata = {
        "format": FORMAT,
        "name": settings.name,
        "head": "1",
        "licence": settings.licence,
        "attribution": settings.attribution,
        "origin": (
            f"trained on {trainer.images_seen} pictures by python -m inversion train-backbone "
            f"--data-folder {settings.data_folder} --kimg {trainer.total_images / 1000:g} --batch {settings.batch} "
            f"--lr {settings.learning_rate:g} --precision {settings.precision} --seed {settings.seed}"
        ),
    }
    tensors = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in trainer.average.state_dict().items()}
    write_bytes(path, save(tensors, metadata=metadata))


def save_state(trainer: BackboneTrainer, path: Path) -> None:
    """Write everything needed to resume."""
    adam = trainer.optimizer.adam.state
    groups: Groups = {
        "student": trainer.student.state_dict(),
        "average": trainer.average.state_dict(),
        "momentum": trainer.optimizer.momentum,
        "first": {name: adam[p]["exp_avg"] for name, p in trainer.optimizer.biases.items() if p in adam},
        "second": {name: adam[p]["exp_avg_sq"] for name, p in trainer.optimizer.biases.items() if p in adam},
    }
    metadata = {"settings": trainer.settings.to_json()}
    metadata |= {key: str(getattr(trainer, key)) for key in ("step", "images_seen", "seconds")}
    write_groups(path, STATE_FORMAT, groups, metadata)


def read_settings(path: Path) -> BackboneSettings:
    """The settings of a saved state.

    Raises:
        CheckpointError: the file is not the state of a backbone's training.
    """
    return BackboneSettings.from_json(_read_state(path)[1].get("settings", ""), path)


def load_state(trainer: BackboneTrainer, path: Path) -> None:
    """Restore a saved state.

    Raises:
        CheckpointError: the file is not the state of a backbone's training.
    """
    groups, metadata = _read_state(path)
    groups = {group: {name: t.to(trainer.device) for name, t in named.items()} for group, named in groups.items()}
    optimizer = trainer.optimizer
    moments = {"momentum": optimizer.filters, "first": optimizer.biases, "second": optimizer.biases}
    for group, parameters in moments.items():
        if {k: v.shape for k, v in groups[group].items()} != {k: v.shape for k, v in parameters.items()}:
            raise CheckpointError(f"{path} does not hold the moments of a backbone's filters and biases; start afresh.")
    load_strictly(trainer.student, groups["student"], path)
    load_strictly(trainer.average, groups["average"], path)
    trainer.step, trainer.seconds = read_progress(metadata, path)
    trainer.images_seen = int(metadata["images_seen"])
    optimizer.set_momentum(groups["momentum"])
    for name, bias in optimizer.biases.items():
        optimizer.adam.state[bias] = {
            "step": torch.tensor(float(trainer.step), device=trainer.device),
            "exp_avg": groups["first"][name],
            "exp_avg_sq": groups["second"][name],
        }


def _read_state(path: Path) -> tuple[Groups, dict[str, str]]:
    groups, metadata = read_groups(path, STATE_FORMAT, GROUPS, "a backbone's training")
    if not metadata.get("images_seen", "").isdigit():
        raise CheckpointError(f"{path} does not say how many pictures its training has seen; start afresh.")
    return groups, metadata
