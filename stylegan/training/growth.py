"""Progressive growing: initialises a network from a trained one of half the resolution (Karras et al. 2018, sec. 2).

The new block is faded in by a weight that rises from 0 to 1, so that the untrained layers do not disturb the trained
ones. In the generator with output skips, the weight applies to the new block's RGB output. The discriminator blends
the new block's features with those of the old fromRGB layer.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import RESOLUTIONS
from stylegan.networks.generator import Generator
from stylegan.networks.mlp import MlpConfig, MlpDiscriminatorConfig
from stylegan.networks.synthesis import SynthesisNetwork
from stylegan.training.settings import Growth, TrainingSettings


def grown_settings(settings: TrainingSettings, images_seen: int, fade_kimg: float, origin: str) -> TrainingSettings:
    """The settings of a run at twice the resolution that starts from another run's networks.

    The weight of R1 is scaled with R^2; everything else is kept, but a progressive run's schedule, which has ended.

    Args:
        settings: of the run to grow from.
        images_seen: how many pictures that run has seen.
        fade_kimg: thousands of pictures over which the new blocks are faded in.
        origin: description of that run, for the records.

    Raises:
        UsageError: the network has the largest resolution already, or is still growing itself.
    """
    generator, discriminator = settings.generator, settings.discriminator
    if isinstance(generator, MlpConfig) or isinstance(discriminator, MlpDiscriminatorConfig):
        raise UsageError("a network of fully connected layers cannot grow; expected a style-based one.")
    side = generator.resolution * 2
    if side > max(RESOLUTIONS):
        raise UsageError(f"a network of {side // 2} px cannot grow; the largest size is {max(RESOLUTIONS)} px.")
    reached = settings.progressive.at(images_seen, side // 2)[0] if settings.progressive else side // 2
    if reached < side // 2 or settings.fade_weight(images_seen) < 1:
        raise UsageError(
            f"the run is still growing to {side // 2} px after {images_seen / 1000:g} thousand pictures. Go on with "
            "--resume until its newest blocks have faded in, and grow from it then."
        )
    return dataclasses.replace(
        settings,
        progressive=None,
        generator=dataclasses.replace(generator, resolution=side),
        discriminator=dataclasses.replace(discriminator, resolution=side),
        loss_weights=dataclasses.replace(settings.loss_weights, r1_gamma=settings.loss_weights.r1_gamma * 4),
        growth=Growth(fade_kimg, origin),
    )


def plant(network: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Copy the weights of a smaller network into a new, larger one; the new layers keep their random weights.

    Args:
        network: a generator, or a discriminator with ``grown=True``.
        tensors: the weights of the smaller network, by its names.
        source: of the weights, for messages.

    Raises:
        CheckpointError: the weights are not those of a network at half the resolution.
    """
    # A network that has grown before still holds the fromRGB layer that it faded out.
    current = {name: tensor for name, tensor in tensors.items() if not name.startswith("old_fromrgb.")}
    renamed = {_grown_name(name): tensor for name, tensor in current.items()}
    own = network.state_dict()
    strange = sorted(name for name, tensor in renamed.items() if name not in own or own[name].shape != tensor.shape)
    if strange or not renamed:
        raise CheckpointError(
            f"{source} cannot grow into this network: {len(strange)} of its tensors have no place, "
            f"among them {', '.join(strange[:3]) or 'all'}. Expected the state of a run at half the resolution."
        )
    network.load_state_dict({**own, **renamed})


def _grown_name(name: str) -> str:
    return name.replace("fromrgb.", "old_fromrgb.", 1) if name.startswith("fromrgb.") else name


def set_fade(networks: Sequence[nn.Module], weight: float) -> None:
    """Set the weight of the newest blocks, 0 to 1, without synchronising with the device."""
    for network in networks:
        assert isinstance(network.fade, Tensor)
        network.fade.fill_(weight)


def settled(generator: Generator) -> Generator:
    """A generator that draws the same pictures without ``fade``, so that it can be saved while a block is faded in.

    The fade weight is folded into the last ToRGB layer, which is linear in its weight and bias. With ``conv_clamp``,
    the limit then applies to the weighted output, which makes no difference to trained networks, as they stay below it.
    """
    fade = getattr(generator.synthesis, "fade", None)  # StyleGAN3's synthesis has none
    if fade is None:
        return generator
    copied = copy.deepcopy(generator)
    assert isinstance(copied.synthesis, SynthesisNetwork)
    torgb = copied.synthesis.last_block.torgb
    with torch.no_grad():
        torgb.weight.mul_(fade)
        torgb.bias.mul_(fade)
    copied.synthesis.fade = None
    return copied
