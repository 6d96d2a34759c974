"""Progressive growing: a trained network becomes the start of one of twice the resolution (Karras et al. 2018, sec. 2).

The new block fades in: for a while it counts with a weight that rises from 0 to 1, so that a network that has
learnt its size is not thrown off by layers that have learnt nothing. The skip generator adds pictures instead
of blending them, so its new picture is what is weighted; the discriminator blends the new block's features with
those of the layer that used to read the picture.
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
from stylegan.networks.synthesis import SynthesisNetwork
from stylegan.training.settings import Growth, TrainingSettings


def grown_settings(settings: TrainingSettings, fade_kimg: float, origin: str) -> TrainingSettings:
    """The settings of a run at twice the resolution that begins with another run's networks.

    R1's weight follows its rule, gamma in proportion to R^2; everything else stays.

    Args:
        settings: of the run to grow from.
        fade_kimg: over how many thousand pictures the new blocks fade in.
        origin: that run in words, for the new one's records.

    Raises:
        UsageError: the network has the largest size already.
    """
    side = settings.generator.resolution * 2
    if side > max(RESOLUTIONS):
        raise UsageError(f"a network of {side // 2} px cannot grow; the largest size is {max(RESOLUTIONS)} px.")
    return dataclasses.replace(
        settings,
        generator=dataclasses.replace(settings.generator, resolution=side),
        discriminator=dataclasses.replace(settings.discriminator, resolution=side),
        loss_weights=dataclasses.replace(settings.loss_weights, r1_gamma=settings.loss_weights.r1_gamma * 4),
        growth=Growth(fade_kimg, origin),
    )


def plant(network: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Give a new, larger network the weights of a smaller one; what is new keeps its random start.

    Args:
        network: a generator, or a discriminator with a place for the old layer that reads pictures.
        tensors: the smaller network's weights, by its own names.
        source: where they come from, for messages.

    Raises:
        CheckpointError: they are not those of such a network at half the resolution.
    """
    moved = {_grown_name(name): tensor for name, tensor in tensors.items()}
    own = network.state_dict()
    strange = sorted(name for name, tensor in moved.items() if name not in own or own[name].shape != tensor.shape)
    if strange or not moved:
        raise CheckpointError(
            f"{source} cannot grow into this network: {len(strange)} of its tensors have no place, "
            f"among them {', '.join(strange[:3]) or 'all'}. Expected the state of a run at half the resolution."
        )
    network.load_state_dict({**own, **moved})


def _grown_name(name: str) -> str:
    return name.replace("fromrgb.", "old_fromrgb.", 1) if name.startswith("fromrgb.") else name


def set_fade(networks: Sequence[nn.Module], weight: float) -> None:
    """Set the weight of the newest blocks, 0 to 1; without waiting for the device."""
    for network in networks:
        assert isinstance(network.fade, Tensor)
        network.fade.fill_(weight)


def settled(generator: Generator) -> Generator:
    """A generator that draws the same without any fading: what can be saved while a block fades in.

    The last picture's weight is folded into the layer that makes it, which is linear in weight and bias
    (``conv_clamp``, if there is one, then limits the picture before it was weighted; trained networks stay below).
    """
    fade = getattr(generator.synthesis, "fade", None)  # StyleGAN3's synthesis has none
    if fade is None:
        return generator
    still = copy.deepcopy(generator)
    assert isinstance(still.synthesis, SynthesisNetwork)
    torgb = still.synthesis.last_block.torgb
    with torch.no_grad():
        torgb.weight.mul_(fade)
        torgb.bias.mul_(fade)
    still.synthesis.fade = None
    return still
