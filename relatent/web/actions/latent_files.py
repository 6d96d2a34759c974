"""Opens uploaded latents: reads them as untrusted data, and checks that the network can draw them."""

from __future__ import annotations

from pathlib import Path, PurePath

from inversion import Inversion
from inversion.foreign_latents import foreign_inversions, latent_kind, single
from relatent.core.errors import CheckpointError, RelatentError, ShapeError, UsageError
from relatent.face.crop import unpack_crop
from stylegan import Generator, network_id
from stylegan.formats.checkpoint import is_foreign

LONGEST_NAME = 60  # characters
INSTEAD = "Or choose the photo itself on the Photo tab: it is inverted for the network of this page."
SUFFIXES = (".safetensors", ".npz", ".npy", ".pt", ".pth", ".pkl")


def open_latents(path: Path, network: Generator, name: str = "") -> list[Inversion]:
    """The faces in a file: our own ``inversion.safetensors``, or latents of other tools.

    Args:
        path: the file; see inversion/foreign_latents.py for what is read.
        network: whose latents are wanted. Files of others name no network: they are taken for this one's if the sizes
            fit.
        name: how messages call the file; its own name by default.

    Returns:
        Inversions of ``network`` that were drawn once, so that they can be drawn again. What the file says of where
        its network lies is forgotten: that is a path on somebody's machine.

    Raises:
        UsageError: another type of file, or an inversion of another network.
        CheckpointError: damaged, or not an inversion.
        ShapeError: the latents do not fit the network.
    """
    name = name or path.name
    try:
        return [_checked(one, network, name) for one in _read(path, network)]
    except ShapeError as error:
        raise ShapeError(f"{str(error).replace(str(path), name)} {INSTEAD}") from error
    except RelatentError as error:
        raise type(error)(str(error).replace(str(path), name)) from error


def open_latent(path: Path, network: Generator, name: str = "") -> Inversion:
    """The only face in a file; raises as :func:`open_latents` does, and UsageError where there are several."""
    return single(open_latents(path, network, name), Path(name or path.name))


def _read(path: Path, network: Generator) -> list[Inversion]:
    kind = latent_kind(path)
    if kind is None and path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path} is no latent; expected inversion.safetensors as this page and inversion.project write it, or an "
            ".npz, .npy or .pt file of another projector or encoder. A photo is inverted first: on the Photo tab, or "
            "with /invert."
        )
    if path.suffix.lower() == SUFFIXES[0] and (kind is None or not is_foreign(path)):
        return [Inversion.load(path)]
    return foreign_inversions(path, network)


def _checked(found: Inversion, network: Generator, name: str) -> Inversion:
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
    return found


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
