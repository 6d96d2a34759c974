"""Opens uploaded latents: reads them as untrusted data, and checks that the network can draw them."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from inversion import Inversion
from relatent.core.errors import CheckpointError, RelatentError, ShapeError, UsageError
from stylegan import Generator, network_id
from weights.reading.arrays import read_npz

SUFFIXES = (".safetensors", ".npz")
KEY = "w"  # the key that other projectors use
LONGEST_NAME = 60  # characters


def open_latent(path: Path, network: Generator, name: str = "") -> Inversion:
    """Open an inversion from Relatent's ``inversion.safetensors``, or from an ``.npz`` with ws under the key ``w``.

    Args:
        path: the file.
        network: of the page. An ``.npz`` names no network: it is accepted if its shape fits.
        name: of the file in messages; its own name by default.

    Returns:
        An inversion of ``network``, which has been drawn once as a check. The path of the network in the file is
        replaced, because it is a path on another machine.

    Raises:
        UsageError: another type of file, or an inversion of another network.
        CheckpointError: damaged, or not an inversion.
        ShapeError: the latents do not fit the network.
    """
    name = name or path.name
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(
            f"{name} is no latent; expected inversion.safetensors, or an .npz file with the key {KEY!r}, as "
            "this page and inversion.project write them."
        )
    try:
        inversion = Inversion.load(path) if kind == ".safetensors" else _from_npz(path, network)
        inversion.check_network(network)
        _check_sizes(inversion, network)
        inversion = inversion.replace(
            network=network_id(network),
            network_file=network.file,
            photo=PurePath(inversion.photo.replace("\\", "/")).name[:LONGEST_NAME] or name[:LONGEST_NAME],
        )
        _draw_once(inversion, network)
    except RelatentError as error:
        raise type(error)(str(error).replace(str(path), name)) from error
    return inversion


def _from_npz(path: Path, network: Generator) -> Inversion:
    arrays = read_npz(path, [KEY])
    if KEY not in arrays:
        raise CheckpointError(f"{path} has no array called {KEY!r}. Save it with: numpy.savez(file, {KEY}=ws)")
    ws = _as_ws(arrays[KEY], network, path)
    space = "w" if bool((ws == ws[:, :1]).all()) else "w+"
    return Inversion(ws=ws, network=network_id(network), network_file=network.file, space=space)


def _as_ws(array: np.ndarray, network: Generator, path: Path) -> Tensor:
    """Reshape [L, w_dim], [1, L, w_dim], or a single w as [w_dim], [1, w_dim] or [1, 1, w_dim] to [1, L, w_dim]."""
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


def _check_sizes(inversion: Inversion, network: Generator) -> None:
    """Check all shapes before the inversion is drawn."""
    wanted = (1, network.num_ws, network.w_dim)
    if tuple(inversion.ws.shape) != wanted:
        raise ShapeError(f"its ws has shape {list(inversion.ws.shape)}; this network reads {list(wanted)}.")
    noise_shapes = [tuple(level.shape) for level in network.synthesis.noise_buffers]
    if inversion.noise is not None and [tuple(level.shape) for level in inversion.noise] != noise_shapes:
        raise ShapeError("its noise has other sizes than this network reads; the file is damaged. Invert again.")
    side = network.resolution
    if inversion.mask is not None and tuple(inversion.mask.shape) != (1, 1, side, side):
        raise ShapeError(f"its mask has shape {list(inversion.mask.shape)}; expected [1, 1, {side}, {side}].")


def _draw_once(inversion: Inversion, network: Generator) -> None:
    try:
        drawn = inversion.tensor(network)
    except (RuntimeError, KeyError, ValueError) as error:  # low-rank updates of weights that the network does not have
        reason = " ".join(str(error).split())[:100]
        raise CheckpointError(f"this network cannot draw the latent ({reason}). Invert the photo again.") from error
    if not drawn.isfinite().all():
        raise CheckpointError("this network draws nothing of the latent: its numbers are too large. Invert again.")
