"""Saving and resuming a training run: one safetensors file with everything a trainer needs.

Adam runs with beta1 = 0, so its first moment is only the last gradient and is not kept. In half
precision weights are float16 and second moments bfloat16, whose range they need.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import CheckpointError, UsageError
from core.files import atomic_file
from stylegan.bounds import require_number, require_whole
from stylegan.checkpoint import load_strictly, read_safetensors
from stylegan.growth import plant
from stylegan.settings import TrainingSettings
from stylegan.trainer import Trainer

FORMAT = "relatent-training-1"
NETWORKS = ("generator", "discriminator", "average")
MOMENTS = {"moments_g": ("generator", "optimizer_g"), "moments_d": ("discriminator", "optimizer_d")}


def save_state(trainer: Trainer, path: Path, *, half: bool = False) -> None:
    """Write a run's state; ``half`` halves the file, and the resumed run is then no longer bit-exact."""
    tensors: dict[str, Tensor] = {}
    for network in NETWORKS:
        for name, tensor in getattr(trainer, network).state_dict().items():
            tensors[f"{network}.{name}"] = tensor.half() if half else tensor
    for key, (network, optimizer) in MOMENTS.items():
        for name, moment in _moments(getattr(trainer, network), getattr(trainer, optimizer)).items():
            tensors[f"{key}.{name}"] = moment.bfloat16() if half else moment
    metadata = {
        "format": FORMAT,
        "settings": trainer.settings.to_json(),
        "step": str(trainer.step),
        "seconds": str(trainer.seconds),
        "augment": repr(trainer.strength.p),
        "path_mean": repr(float(trainer.path_mean)),
    }
    with atomic_file(path) as temporary:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, metadata=metadata)


def compact_state(path: Path, out: Path) -> None:
    """Write a saved state again to be kept or shared: in half precision, and without the folder of its data.

    Raises:
        CheckpointError: ``path`` is not the state of a training run.
    """
    tensors, metadata = _read(path)
    settings = TrainingSettings.from_json(metadata.get("settings", ""), path)
    metadata["settings"] = settings.with_data(Path(settings.data).name, settings.data_folder).to_json()
    half = {k: v.bfloat16() if k.startswith(tuple(MOMENTS)) else v.half() for k, v in tensors.items()}
    with atomic_file(out) as temporary:
        save_file(half, temporary, metadata=metadata)


def read_settings(path: Path) -> TrainingSettings:
    """The settings a state was saved with.

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
    tensors, metadata = _read(path)
    groups = _grouped(tensors, path)
    for network in NETWORKS:
        module = getattr(trainer, network)
        load_strictly(module, {k: v.to(trainer.device) for k, v in groups[network].items()}, path)
    trainer.step, trainer.seconds = _progress(metadata, path)
    trainer.strength.p = _number(metadata, "augment", 1.0, path)
    trainer.path_mean.fill_(_number(metadata, "path_mean", 1e9, path))
    trainer.set_fade()
    for key, (network, optimizer) in MOMENTS.items():
        _restore_moments(getattr(trainer, network), getattr(trainer, optimizer), groups[key], trainer.step, path)


def load_smaller(trainer: Trainer, path: Path) -> None:
    """Begin ``trainer`` with the networks of a run at half the resolution; see :mod:`stylegan.growth`.

    Raises:
        CheckpointError: the file is not the state of a training run, or of one that does not fit.
    """
    tensors, _ = _read(path)
    groups = _grouped(tensors, path)
    for network in NETWORKS:
        plant(getattr(trainer, network), groups[network], path)


def describe_state(path: Path) -> str:
    """A run in words, for the records of one that grows from it: its network's name and the pictures it has seen.

    Raises:
        CheckpointError: the file is not the state of a training run.
    """
    _, metadata = _read(path)
    step, _ = _progress(metadata, path)
    settings = TrainingSettings.from_json(metadata.get("settings", ""), path)
    return f"{settings.name} at {settings.generator.resolution} px after {step * settings.batch} pictures"


def _grouped(tensors: dict[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each network and each optimiser."""
    groups: dict[str, dict[str, Tensor]] = {key: {} for key in (*NETWORKS, *MOMENTS)}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        if group not in groups:
            raise CheckpointError(f"{path} holds an unexpected tensor {name!r}; it is not a training state.")
        groups[group][rest] = tensor
    return groups


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not the state of a training run; expected a training-state.safetensors.")
    return tensors, metadata


def _progress(metadata: dict[str, str], path: Path) -> tuple[int, float]:
    """Steps taken and seconds spent."""
    try:
        step, seconds = int(metadata["step"]), float(metadata["seconds"])
        require_whole("step", step, 0, 2**53)
        require_number("seconds", seconds, 0, 1e12)
    except (KeyError, ValueError, UsageError) as error:
        raise CheckpointError(f"{path} does not say how far its training run is: {error!s:.300}") from error
    return step, seconds


def _number(metadata: dict[str, str], name: str, high: float, path: Path) -> float:
    """A figure of the state from 0 to ``high``; 0 where an older file lacks it."""
    try:
        value = float(metadata.get(name, "0"))
        require_number(name, value, 0, high)
    except (ValueError, UsageError) as error:
        raise CheckpointError(f"{path} has an unusable {name}: {error!s:.300}") from error
    return value


def _moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's second moment for each parameter that has moved."""
    return {
        name: optimizer.state[parameter]["exp_avg_sq"]
        for name, parameter in network.named_parameters()
        if parameter in optimizer.state
    }


def _restore_moments(
    network: nn.Module, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor], step: int, path: Path
) -> None:
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    if {name: moment.shape for name, moment in moments.items()} != (shapes if step else {}):
        raise CheckpointError(f"{path}: the optimiser's moments do not fit the parameters; the file is damaged.")
    for name, moment in moments.items():
        parameter = network.get_parameter(name)
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": moment.to(parameter.device, parameter.dtype),
        }
