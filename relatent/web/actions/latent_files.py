"""Latents that a visitor brings along: read as data, and only those that this page's network can draw."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from inversion import Inversion
from relatent.core.errors import CheckpointError, RelatentError, ShapeError, UsageError
from relatent.face.crop import unpack_crop
from stylegan import Generator, network_id
from weights.reading.arrays import read_npz

SUFFIXES = (".safetensors", ".npz")
KEY = "w"  # what other projectors call it, too
LONGEST_NAME = 60  # characters


def open_latent(path: Path, network: Generator, name: str = "") -> Inversion:
    """An inversion from a file: our own ``inversion.safetensors``, or an ``.npz`` with ws under the key ``w``.

    Args:
        path: the file.
        network: whose latents are wanted. An ``.npz`` names no network: it is taken for this one's if the sizes fit.
        name: how messages call the file; its own name by default.

    Returns:
        An inversion of ``network`` that was drawn once, so that it can be drawn again. What the file says of where
        its network lies is forgotten: that is a path on somebody's machine.

    Raises:
        UsageError: another kind of file, or a latent of another network.
        CheckpointError: damaged, or none of ours.
        ShapeError: a latent of other sizes than the network's.
    """
    name = name or path.name
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(
            f"{name} is no latent; expected inversion.safetensors, or an .npz file with the key {KEY!r}, as "
            "this page and inversion.project write them."
        )
    try:
        found = Inversion.load(path) if kind == ".safetensors" else _from_npz(path, network)
        found.check_network(network)
        _check_sizes(found, network)
        if found.crop is not None:
            unpack_crop(found.crop)  # whether it is a picture at all
        found = found.replace(
            network=network_id(network),
            network_file=network.file,
            photo=PurePath(found.photo.replace("\\", "/")).name[:LONGEST_NAME] or name[:LONGEST_NAME],
        )
        _draw_once(found, network)
    except RelatentError as error:
        raise type(error)(str(error).replace(str(path), name)) from error
    return found


def _from_npz(path: Path, network: Generator) -> Inversion:
    arrays = read_npz(path, [KEY])
    if KEY not in arrays:
        raise CheckpointError(f"{path} has no array called {KEY!r}. Save it with: numpy.savez(file, {KEY}=ws)")
    ws = _as_ws(arrays[KEY], network, path)
    space = "w" if bool((ws == ws[:, :1]).all()) else "w+"
    return Inversion(ws=ws, network=network_id(network), network_file=network.file, space=space)


def _as_ws(array: np.ndarray, network: Generator, path: Path) -> Tensor:
    """[L, w_dim] or [1, L, w_dim], or one w for all layers as [w_dim] or [1, w_dim], as ws [1, L, w_dim]."""
    layers, width = network.num_ws, network.w_dim
    values = torch.from_numpy(array)
    if values.shape in {(1, layers, width), (layers, width)}:
        ws = values.reshape(1, layers, width)
    elif values.shape in {(width,), (1, width), (1, 1, width)}:
        ws = values.reshape(1, 1, width).repeat(1, layers, 1)
    else:
        raise ShapeError(
            f"{KEY} in {path} has shape {list(values.shape)}; this network reads [1, {layers}, {width}]. It is a "
            "latent of another network, or several at once: save each one alone."
        )
    if not ws.isfinite().all():
        raise CheckpointError(f"{path} holds values that are not finite. Invert the photo again.")
    return ws


def _check_sizes(found: Inversion, network: Generator) -> None:
    """Refuse what only a damaged file can hold, before it is drawn."""
    wanted = (1, network.num_ws, network.w_dim)
    if tuple(found.ws.shape) != wanted:
        raise ShapeError(f"its ws has shape {list(found.ws.shape)}; this network reads {list(wanted)}.")
    own = [tuple(level.shape) for level in network.synthesis.noise_buffers]
    if found.noise is not None and [tuple(level.shape) for level in found.noise] != own:
        raise ShapeError("its noise has other sizes than this network reads; the file is damaged. Invert again.")
    side = network.resolution
    if found.mask is not None and tuple(found.mask.shape) != (1, 1, side, side):
        raise ShapeError(f"its mask has shape {list(found.mask.shape)}; expected [1, 1, {side}, {side}].")


def _draw_once(found: Inversion, network: Generator) -> None:
    try:
        drawn = found.tensor(network)
    except (RuntimeError, KeyError, ValueError) as error:  # additions to weights that the network has not
        reason = " ".join(str(error).split())[:100]
        raise CheckpointError(f"this network cannot draw the latent ({reason}). Invert the photo again.") from error
    if not drawn.isfinite().all():
        raise CheckpointError("this network draws nothing of the latent: its numbers are too large. Invert again.")
