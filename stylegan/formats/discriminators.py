"""Reads the discriminator of an NVIDIA pickle (StyleGAN2-ADA), to begin a training with."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from stylegan.formats.checkpoint import require_finite
from weights.reading.file_kinds import kind_of
from weights.reading.pickles import Persistent, flatten, open_pickle

ENTRY = "D"
LAST = {"b4.conv": "conv", "b4.fc": "hidden", "b4.out": "out"}


def read_discriminator(path: Path, resolution: int) -> dict[str, Tensor] | None:
    """The discriminator's tensors by the names of :class:`stylegan.Discriminator`; None if the file holds none.

    Args:
        path: any network file.
        resolution: of the discriminator to be filled. The layer that reads pictures belongs to one resolution, and is
            left out for another; blocks of a larger resolution are left out, too.

    Raises:
        CheckpointError: the file is damaged.
    """
    if kind_of(path) != "pickle":
        return None
    content = open_pickle(path)
    network = content.value.get(ENTRY) if isinstance(content.value, dict) else None
    if not isinstance(network, Persistent) or network.class_name != "Discriminator":
        return None
    tensors = flatten(content.take(network), path)
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = _our_name(name, resolution)
        if ours is not None:
            renamed[ours] = tensor.detach().float().contiguous()
    require_finite(renamed, path)
    return renamed or None


def _our_name(theirs: str, resolution: int) -> str | None:
    module, _, kind = theirs.rpartition(".")
    if kind not in ("weight", "bias"):
        return None  # filters
    if module in LAST:
        return f"{LAST[module]}.{kind}"
    match = re.fullmatch(r"b(\d{1,4})\.(fromrgb|conv0|conv1|skip)", module)
    if match is None:
        return None
    if match[2] == "fromrgb":
        return f"fromrgb.{kind}" if int(match[1]) == resolution else None
    return f"blocks.{match[1]}.{match[2]}.{kind}"
