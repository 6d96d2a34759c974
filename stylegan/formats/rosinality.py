"""Reads the `.pt` files of rosinality's stylegan2-pytorch, and the decoders of pSp and e4e, which have its layout.

Sizes come from the tensors' shapes. The file does not say how its mapping network was scaled or whether activations
were clamped; the weights tell the one (``lr_mlp``), and to the other the published code has one answer, never.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relatent.core.errors import CheckpointError
from stylegan.bounds import shown
from stylegan.formats.assembly import assemble, channel_rule, mapping_rate, take_filters
from stylegan.networks.generator import Generator

W_AVG = "latent_avg"
NOISES = "noises.noise_"
NOISE_SEED = 0  # of noise maps that a file lacks
MAX_STYLE = 2048  # limits the cost of computing w_avg and noise before the tensors are checked
MAX_LEVELS = 8  # 1024 px
LAYOUT = "rosinality's StyleGAN2 layout"
PARTS = {
    "affine": "conv.modulation",
    "weight": "conv.weight",
    "bias": "activate.bias",
    "noise_strength": "noise.weight",
}


def generator_from_rosinality(tensors: dict[str, Tensor], latent_avg: Tensor | None, source: Path) -> Generator:
    """A generator from rosinality's tensors.

    Args:
        tensors: by rosinality's names, without a prefix such as "decoder.".
        latent_avg: [w_dim], or [L, w_dim] as in pSp; None for the mean w of 10,000 samples.
        source: the file, for messages and the network's name.

    Raises:
        CheckpointError: the tensors are not a generator of that layout.
    """
    tensors = {name: _unbatched(name, tensor, source) for name, tensor in tensors.items()}
    take_filters(tensors, ".kernel", 4.0, source)
    sizes = _sizes(tensors, source)
    if not any(name.startswith(NOISES) for name in tensors):
        tensors.update(_noises(sizes["resolution"]))
    tensors[W_AVG] = _centre(latent_avg, sizes["w_dim"], source)
    generator = assemble(sizes, tensors, _their_name, source)
    if latent_avg is None:
        generator.recompute_w_avg()
    return generator


def _sizes(tensors: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """The sizes that follow from the tensors' shapes."""
    depth = sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", name)) for name in tensors)
    names = ["to_rgb1", *(f"to_rgbs.{index}" for index in range(depth))]
    colours = [tensors.get(f"{name}.conv.weight") for name in names]
    first = tensors.get("style.1.weight")
    if first is None or first.ndim != 2 or any(colour is None or colour.ndim != 4 for colour in colours):
        raise CheckpointError(f"{path} has no style.1 or lacks to_rgbs layers; expected {LAYOUT}.")
    if first.shape[0] != first.shape[1] or first.shape[0] > MAX_STYLE or depth > MAX_LEVELS:
        raise CheckpointError(
            f"{path} has a style.1 of {list(first.shape)} and {depth} to_rgbs layers; expected a square of at most "
            f"{MAX_STYLE} and at most {MAX_LEVELS} layers."
        )
    widths = {4 * 2**index: colour.shape[1] for index, colour in enumerate(colours) if colour is not None}
    return {
        "resolution": 4 * 2**depth,
        "z_dim": first.shape[1],
        "w_dim": first.shape[0],
        "mapping_layers": sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in tensors),
        "img_channels": tensors["to_rgb1.conv.weight"].shape[0],
        "mapping_lr_multiplier": mapping_rate(
            tensor for name, tensor in tensors.items() if re.fullmatch(r"style\.\d+\.weight", name)
        ),
        "conv_clamp": None,
        **channel_rule(widths, path),
    }


def _noises(resolution: int) -> dict[str, Tensor]:
    """Noise maps for files of older versions, which have none because they drew new noise for every picture."""
    rng = torch.Generator().manual_seed(NOISE_SEED)
    levels = range(2, int(math.log2(resolution)) + 1)
    sides = [2**level for level in levels for _ in range(2)][1:]  # one layer at 4 px, two at every other size
    return {f"{NOISES}{index}": torch.randn(side, side, generator=rng) for index, side in enumerate(sides)}


def _centre(latent_avg: Tensor | None, w_dim: int, path: Path) -> Tensor:
    """latent_avg as one w, [w_dim]; zeros if there is none."""
    if latent_avg is None:
        return torch.zeros(w_dim)
    if latent_avg.ndim not in (1, 2) or latent_avg.shape[-1] != w_dim or not latent_avg.numel():
        raise CheckpointError(
            f"{path} has a latent_avg of {list(latent_avg.shape)}; expected [{w_dim}] or [L, {w_dim}]."
        )
    rows = latent_avg.reshape(-1, w_dim)
    return rows[0] if bool((rows == rows[0]).all()) else rows.float().mean(dim=0)


def _unbatched(name: str, tensor: Tensor, path: Path) -> Tensor:
    """A tensor without the axes of length 1 that this layout adds to some tensors."""
    if name.startswith(NOISES):
        before, after = 2, 0  # [1, 1, r, r]
    elif re.fullmatch(r"to_rgb(1|s\.\d+)\.bias", name):
        before, after = 1, 2  # [1, 3, 1, 1]
    elif re.fullmatch(r"input\.input|.*\.conv\.weight|.*\.noise\.weight", name):
        before, after = 1, 0  # [1, C, 4, 4], [1, O, I, k, k], [1]
    else:
        return tensor
    inner = tensor.shape[before : tensor.ndim - after]
    if tensor.ndim < before + after or tensor.shape != (1,) * before + inner + (1,) * after:
        raise CheckpointError(f"{path} has {shown(name)} of {list(tensor.shape)}; expected {LAYOUT}.")
    return tensor.reshape(inner)


def _their_name(ours: str) -> str:
    """The file's name for a tensor of ours; the layout numbers layers over all resolutions, ours within each."""
    if ours == "mapping.w_avg":
        return W_AVG
    if ours.startswith("mapping."):
        _, _, index, part = ours.split(".")
        return f"style.{int(index) + 1}.{part}"
    _, _, size, layer, *parts = ours.split(".")
    if layer == "const":
        return "input.input"
    level = int(math.log2(int(size))) - 3  # 0 at 8 px
    colour = layer == "torgb"
    number = 2 * level + (layer == "conv1")
    if parts == ["noise_const"]:
        return f"{NOISES}{number + 1}"
    first_level = {True: "to_rgb1", False: "conv1"}
    later_levels = {True: f"to_rgbs.{level}", False: f"convs.{number}"}
    name = (first_level if level < 0 else later_levels)[colour]
    first, *rest = parts
    return ".".join([name, "bias" if colour and first == "bias" else PARTS[first], *rest])
