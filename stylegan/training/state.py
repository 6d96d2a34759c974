"""Saves and restores training runs in one safetensors file.

Adam runs with beta1 = 0, so its first moment is only the last gradient and is not kept. In half
precision weights are float16 and second moments bfloat16, whose range they need; the noise maps, which
do not change and so are the same in the average as in the generator, are kept once.
"""

from __future__ import annotations

from pathlib import Path

import torch

from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import require_number, require_whole
from stylegan.formats.checkpoint import load_strictly
from stylegan.training.growth import plant
from stylegan.training.settings import TrainingSettings
from stylegan.training.state_file import (
    Groups,
    moments_of,
    read_groups,
    read_progress,
    restore_moments,
    steps_of,
    write_groups,
)
from stylegan.training.trainer import Trainer

FORMAT = "relatent-training-1"
NETWORKS = ("generator", "discriminator", "average")
NOISE = ".noise_const"
MOMENTS = {"moments_g": ("generator", "optimizer_g"), "moments_d": ("discriminator", "optimizer_d")}
HEADS = "feature_heads"  # only in the state of a run with a second discriminator
HEAD_MOMENTS = "moments_f"


def save_state(trainer: Trainer, path: Path, *, half: bool = False) -> None:
    """Write a run's state; ``half`` halves the file, and the resumed run is then no longer bit-exact."""
    groups: Groups = {name: getattr(trainer, name).state_dict() for name in NETWORKS}
    for key, (network, optimizer) in MOMENTS.items():
        groups[key] = moments_of(getattr(trainer, network), getattr(trainer, optimizer), "exp_avg_sq")
    if trainer.feature_discriminator:
        heads = trainer.feature_discriminator.heads
        groups[HEADS] = heads.state_dict()
        groups[HEAD_MOMENTS] = moments_of(heads, trainer.optimizer_f, "exp_avg_sq")
    metadata = {
        "settings": trainer.settings.to_json(),
        "step": str(trainer.step),
        "images_seen": str(trainer.images_seen),
        "seconds": str(trainer.seconds),
        "augment": repr(trainer.strength.p),
        "path_mean": repr(float(trainer.path_mean)),
        **{key: str(steps_of(getattr(trainer, optimizer))) for key, (_, optimizer) in MOMENTS.items()},
    }
    if trainer.feature_discriminator:
        metadata[HEAD_MOMENTS] = str(steps_of(trainer.optimizer_f))
    write_groups(path, FORMAT, _halved(groups) if half else groups, metadata)


def compact_state(path: Path, out: Path) -> None:
    """Write a copy of a saved state in half precision, without the path of its data, to be archived or shared.

    Raises:
        CheckpointError: ``path`` is not the state of a training run.
    """
    groups, metadata = _read(path)
    settings = TrainingSettings.from_json(metadata.get("settings", ""), path)
    metadata["settings"] = settings.with_data(Path(settings.data).name, settings.data_folder).to_json()
    write_groups(out, FORMAT, _halved(groups), metadata)


def read_settings(path: Path) -> TrainingSettings:
    """The settings of a saved state.

    Raises:
        CheckpointError: the file is not the state of a training run.
    """
    _, metadata = _read(path)
    return TrainingSettings.from_json(metadata.get("settings", ""), path)


def load_state(trainer: Trainer, path: Path) -> None:
    """Continue ``trainer`` from a saved state of networks of the same sizes.

    Raises:
        CheckpointError: the file is not the state of a training run, or of one with other networks.
    """
    groups, metadata = _read(path)
    trainer.images_seen = _images_seen(metadata, path)
    trainer.reach_stage(plant_weights=False)
    for network in NETWORKS:
        module = getattr(trainer, network)
        load_strictly(module, {k: v.to(trainer.device) for k, v in groups[network].items()}, path)
    trainer.step, trainer.seconds = read_progress(metadata, path)
    trainer.strength.p = _number(metadata, "augment", 1.0, path)
    trainer.path_mean.fill_(_number(metadata, "path_mean", 1e9, path))
    trainer.set_fade()
    for key, (network, optimizer) in MOMENTS.items():
        module, adam = getattr(trainer, network), getattr(trainer, optimizer)
        steps = _whole(metadata, key, trainer.step, path)
        restore_moments(module, adam, None, groups[key], steps, path)
    if trainer.feature_discriminator and groups[HEADS]:  # else they begin here
        heads = trainer.feature_discriminator.heads
        load_strictly(heads, {k: v.to(trainer.device) for k, v in groups[HEADS].items()}, path)
        steps = _whole(metadata, HEAD_MOMENTS, trainer.step if groups[HEAD_MOMENTS] else 0, path)
        restore_moments(heads, trainer.optimizer_f, None, groups[HEAD_MOMENTS], steps, path)


def load_smaller(trainer: Trainer, path: Path) -> None:
    """Initialise ``trainer`` with the networks of a run at half the resolution; see :mod:`stylegan.training.growth`.

    Raises:
        CheckpointError: the file is not the state of a training run, or its networks do not fit.
    """
    groups, _ = _read(path)
    for network in NETWORKS:
        plant(getattr(trainer, network), groups[network], path)


def describe_state(path: Path) -> str:
    """A description of a run, for the records of one that grows from it: name, resolution and number of pictures.

    Raises:
        CheckpointError: the file is not the state of a training run.
    """
    _, metadata = _read(path)
    settings = TrainingSettings.from_json(metadata.get("settings", ""), path)
    return f"{settings.name} at {settings.generator.resolution} px after {_images_seen(metadata, path)} pictures"


def images_seen(path: Path) -> int:
    """How many pictures a saved run has seen.

    Raises:
        CheckpointError: the file is not the state of a training run.
    """
    _, metadata = _read(path)
    return _images_seen(metadata, path)


def _read(path: Path) -> tuple[Groups, dict[str, str]]:
    groups, metadata = read_groups(path, FORMAT, (*NETWORKS, *MOMENTS, HEADS, HEAD_MOMENTS), "a training run")
    noises = {name: noise for name, noise in groups["generator"].items() if name.endswith(NOISE)}
    groups["average"] = {**noises, **groups["average"]}
    return groups, metadata


def _halved(groups: Groups) -> Groups:
    generator = groups["generator"]
    average = {
        name: tensor
        for name, tensor in groups["average"].items()
        if not (name.endswith(NOISE) and torch.equal(tensor, generator[name]))
    }
    return {
        key: {
            name: tensor.bfloat16() if key in (*MOMENTS, HEAD_MOMENTS) else tensor.half()
            for name, tensor in group.items()
        }
        for key, group in {**groups, "average": average}.items()
    }


def _images_seen(metadata: dict[str, str], path: Path) -> int:
    """Pictures shown so far; older files do not say, and were written by runs that never changed their batch."""
    if "images_seen" not in metadata:
        step, _ = read_progress(metadata, path)
        return step * TrainingSettings.from_json(metadata.get("settings", ""), path).batch
    try:
        images = int(metadata["images_seen"])
        require_whole("images_seen", images, 0, 2**53)
    except (ValueError, UsageError) as error:
        raise CheckpointError(f"{path} does not say how far its training is: {error!s:.300}") from error
    return images


def _whole(metadata: dict[str, str], name: str, missing: int, path: Path) -> int:
    """A count of the state; ``missing`` if an older file lacks it."""
    try:
        value = int(metadata.get(name, missing))
        require_whole(name, value, 0, 2**53)
    except (ValueError, UsageError) as error:
        raise CheckpointError(f"{path} has an unusable {name}: {error!s:.300}") from error
    return value


def _number(metadata: dict[str, str], name: str, high: float, path: Path) -> float:
    """A number of the state, checked to be from 0 to ``high``; 0 if an older file lacks it."""
    try:
        value = float(metadata.get(name, "0"))
        require_number(name, value, 0, high)
    except (ValueError, UsageError) as error:
        raise CheckpointError(f"{path} has an unusable {name}: {error!s:.300}") from error
    return value
