"""Transfer: a run on new pictures that begins with a network of any file (Mo et al. 2020, "Freeze the discriminator").

The generator's layers are taken over, up to the smaller of both resolutions. New blocks of a larger network add
nothing at first, because their ToRGB layers start at zero. A discriminator is taken over from an NVIDIA pickle, and
learned anew from other files, which hold none: the generator then waits for it for some thousand pictures.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relatent.core.errors import CheckpointError, UsageError
from stylegan.formats.checkpoint import is_foreign, network_id, read_safetensors
from stylegan.formats.discriminators import read_discriminator
from stylegan.formats.loading import find_network, load
from stylegan.networks.discriminator import Discriminator, DiscriminatorConfig
from stylegan.networks.generator import GeneratorConfig
from stylegan.networks.mlp import MlpConfig, MlpDiscriminatorConfig
from stylegan.training.options import settings_from_options
from stylegan.training.settings import TrainingSettings
from stylegan.training.state import FORMAT
from stylegan.training.trainer import Trainer
from weights.reading.file_kinds import kind_of

WARMUP_KIMG = 1.0  # thousands of pictures that a new discriminator learns from before the generator moves


def is_state(path: Path) -> bool:
    """Whether a file is the state of a training run rather than a network.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not path.is_file() or kind_of(path) != "safetensors" or is_foreign(path):
        return False
    return read_safetensors(path)[1].get("format") == FORMAT


def is_fully_connected(name_or_file: str) -> bool:
    """Whether a network is of ``--arch mlp``, for which other defaults hold.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    path = find_network(name_or_file)
    if kind_of(path) != "safetensors" or is_foreign(path):
        return False  # other tools make none, and theirs take long to load
    return isinstance(load(name_or_file).config, MlpConfig)


def transfer_settings(options: dict[str, Any], name_or_file: str, resolution: int = 0) -> TrainingSettings:
    """The settings of a new run that begins with a network and has its sizes.

    Args:
        options: of :func:`stylegan.training.options.settings_from_options`; those that give sizes are passed over.
        name_or_file: the network.
        resolution: of the new network; 0 for that of the one it begins with.

    Raises:
        CheckpointError: the network cannot be loaded.
        UsageError: a kind of network that cannot be trained, or with other classes.
    """
    source = load(name_or_file)
    config = source.config
    if not isinstance(config, GeneratorConfig | MlpConfig):
        raise UsageError(f"{source.name} is a StyleGAN3, which can be drawn and not trained. Use a StyleGAN2.")
    if options.get("progressive"):
        raise UsageError(f"{source.name} is trained at its resolution already. Leave out --progressive.")
    side = resolution or config.resolution
    if isinstance(config, MlpConfig) and side != config.resolution:
        raise UsageError(f"{source.name} is fully connected and stays at {config.resolution} px.")
    arch = "mlp" if isinstance(config, MlpConfig) else "stylegan2"
    freeze_d = options.get("freeze_d") or 0
    sizes = {"arch": arch, "style_method": "demodulate", "resolution": str(side), "z_dim": config.z_dim}
    settings = settings_from_options(**{**options, **sizes, "freeze_d": 0})
    if config.c_dim != settings.generator.c_dim:
        raise UsageError(
            f"{source.name} has {config.c_dim} classes and the run would have {settings.generator.c_dim}. Train with "
            "the same number of classes (--cond), or with none (--no-cond) from a network without."
        )
    discriminator: DiscriminatorConfig | MlpDiscriminatorConfig
    if isinstance(config, MlpConfig):
        discriminator = MlpDiscriminatorConfig(resolution=side, img_channels=config.img_channels)
    else:
        config = dataclasses.replace(config, resolution=side)
        discriminator = TrainingSettings.discriminator_of(config)
    has_one = fitting_discriminator(find_network(name_or_file), discriminator) is not None
    if freeze_d and not has_one:
        raise UsageError(
            f"{name_or_file} holds no discriminator that fits, and blocks of a new one cannot be frozen before they "
            "have learned. Leave out --freeze-d."
        )
    warmup = options.get("warmup_kimg")
    if warmup is None:
        warmup = 0.0 if has_one else WARMUP_KIMG
    return dataclasses.replace(
        settings,
        generator=config,
        discriminator=discriminator,
        alignment=source.alignment,
        origin=network_id(source),
        warmup_kimg=warmup,
        freeze_d=freeze_d,
    )


def begin_with(trainer: Trainer, name_or_file: str) -> None:
    """Give a trainer at step 0 the networks of a file.

    Raises:
        CheckpointError: the networks do not fit.
    """
    source = load(name_or_file)
    path = find_network(name_or_file)
    for network in (trainer.generator, trainer.average):
        take_over(network, source.state_dict(), path)
    tensors = fitting_discriminator(path, trainer.settings.discriminator)
    if tensors is not None:
        take_over(trainer.discriminator, tensors, path)


def fitting_discriminator(path: Path, config: DiscriminatorConfig | MlpDiscriminatorConfig) -> dict[str, Tensor] | None:
    """The tensors of a file's discriminator; None if it holds none, or one with other widths or classes.

    Raises:
        CheckpointError: the file is damaged.
    """
    if isinstance(config, MlpDiscriminatorConfig):
        return None
    tensors = read_discriminator(path, config.resolution)
    with torch.device("meta"):
        own = Discriminator(config).state_dict()
    fits = tensors and "out.weight" in tensors and all(own[n].shape == t.shape for n, t in tensors.items() if n in own)
    return tensors if fits else None


@torch.no_grad()
def take_over(network: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Copy the tensors that have a place in ``network``.

    Args:
        network: keeps its random weights where there are no others, but new ToRGB layers become zero.
        tensors: by the names of ``network``; those of its larger blocks may be missing, and it may lack the last ones.
        source: of the tensors, for messages.

    Raises:
        CheckpointError: a tensor has another shape.
    """
    own = network.state_dict()
    for name, tensor in tensors.items():
        if name not in own:
            continue  # a block of a larger network
        if own[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source} does not fit: {name} is {list(tensor.shape)} where {list(own[name].shape)} belongs."
            )
        own[name].copy_(tensor)
    for name in own.keys() - tensors.keys():
        if ".torgb." in name and "affine" not in name:
            own[name].zero_()
