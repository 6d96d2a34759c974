"""Latents of faces that other tools save: what a file and an entry of it stand for, as ws.

    NVIDIA, StyleGAN-XL    projected_w.npz, `w` [1, L, w_dim] or [1, 1, w_dim]; TensorFlow: dlatents.npz, `dlatents`
    PTI                    0.pt, a tensor [1, L, w_dim]
    e4e, HFGI              latents.pt, a tensor [N, L, w_dim]
    ReStyle, HyperStyle    latents.npy, an object: by the photo's name a list with [L, w_dim] of every step
    stylegan3-fun          projected_final.npy, [1, L, w_dim]
    rosinality             NAME.pt: by the photo's path `latent`, [w_dim] or [L, w_dim], and `noise`
    InterFaceGAN           .npy, [N, w_dim] or [N, L, w_dim]

Such a file names no network: it is taken for the one that is asked for, if the sizes fit. Nothing in it is executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from inversion.inversion import Inversion
from relatent.core.errors import CheckpointError, ShapeError, UnknownNameError, UsageError
from stylegan.formats.checkpoint import network_id, read_safetensors
from stylegan.formats.foreign import described
from stylegan.networks.generator import Generator
from weights.reading.arrays import npz_names, read_npy_value, read_npz
from weights.reading.file_kinds import kind_of
from weights.reading.pickles import open_pickle, open_torch
from weights.reading.torch_files import ZIP_START

LATENT_FILE = "projected_w.npz"  # what NVIDIA's projector and ours call it
KEYS = ("w", "ws", "latent", "latents", "dlatents", "projected_w", "wp")
ARCHIVE_KEYS = ("w", "ws", "dlatents", "projected_w")  # of a .npz, in which z and steps may lie beside them
NOISE = "noise"
NPY_START = b"\x93NUMPY"
MANY = 9  # entries that a message lists

Kind = Literal["numpy", "numpy archive", "torch", "pickle", "safetensors"]


@dataclass(frozen=True)
class FaceLatents:
    """Latents read from a file.

    Attributes:
        ws: float32 [N, L, w_dim], finite.
        names: of each, as ``entry`` takes them.
        noise: of each, one [1, 1, r, r] for each layer that reads noise; None for the network's own.
    """

    ws: Tensor
    names: tuple[str, ...]
    noise: tuple[tuple[Tensor, ...] | None, ...]


@dataclass(frozen=True)
class _Found:
    """A part of a file that may be latents.

    Attributes:
        name: of the face; empty where the file names none.
        numbers: an array or tensor.
        noise: what was saved beside it as noise.
        key: what the file calls the numbers.
    """

    name: str
    numbers: Any
    noise: Any = None
    key: str = ""


def latent_kind(path: Path) -> Kind | None:
    """What kind of file of latents this may be, by its first bytes; None if it can be none."""
    try:
        with path.open("rb") as file:
            start = file.read(len(NPY_START))
        if start == NPY_START:
            return "numpy"
        if start.startswith(ZIP_START) and _holds_arrays(path):
            return "numpy archive"
        return kind_of(path)
    except (OSError, CheckpointError):
        return None


def _holds_arrays(path: Path) -> bool:
    try:
        return bool(npz_names(path))
    except CheckpointError:  # a damaged zip, of which torch's reader knows more to say
        return False


def read_latents(path: Path, network: Generator, entry: str | None = None) -> FaceLatents:
    """The latents in a file, those of ``entry`` or all.

    Args:
        path: the file; what it is, its content decides.
        network: whose latents they must be, by their sizes.
        entry: one of several faces, by its name in the file (the photo's, with or without folders and ending) or by
            its number, counted from 0.

    Raises:
        CheckpointError: damaged, no latents, or values that are not finite.
        ShapeError: latents of another network.
        UnknownNameError: no such entry.
    """
    rows, names, noises = [], [], []
    for found in _found(_value(path), path):
        ws = _as_ws(found, network, path)
        rows.append(ws)
        names += (
            [found.name] if len(ws) == 1 else [f"{found.name}{'-' if found.name else ''}{i}" for i in range(len(ws))]
        )
        noises += [_as_noise(found.noise, network) if len(ws) == 1 else None] * len(ws)
    if entry is None:
        return FaceLatents(torch.cat(rows), tuple(names), tuple(noises))
    index = _numbered(entry, names, path)
    return FaceLatents(torch.cat(rows)[index : index + 1], (names[index],), (noises[index],))


def foreign_inversions(path: Path, network: Generator, entry: str | None = None) -> list[Inversion]:
    """The latents in a file as inversions of ``network``, named after the photos that the file names, or after it.

    Raises:
        CheckpointError, ShapeError, UnknownNameError: as :func:`read_latents`.
    """
    found = read_latents(path, network, entry)
    several = len(found.names) > 1
    return [
        Inversion(
            ws=ws,
            noise=noise,
            network=network_id(network),
            network_file=network.file,
            space="w" if bool((ws == ws[:, :1]).all()) else "w+",
            photo=_photo_name(name, path, several),
        )
        for ws, name, noise in zip(found.ws.split(1), found.names, found.noise, strict=True)
    ]


def single(faces: list[Inversion], path: Path) -> Inversion:
    """The only one of a file's faces.

    Raises:
        UsageError: there are several.
    """
    if len(faces) > 1:
        names = ", ".join(one.photo for one in faces[:MANY])
        raise UsageError(f"{path} holds {len(faces)} faces, {names}; expected one. Name it: {path}:{faces[0].photo}")
    return faces[0]


def _photo_name(name: str, path: Path, several: bool) -> str:
    if not name:
        return path.name
    own = PurePosixPath(name.replace("\\", "/")).name
    return own if not own.isdigit() or not several else f"{path.stem}-{own}"


def _value(path: Path) -> Any:
    """What a file holds, as plain data."""
    kind = latent_kind(path)
    if kind == "numpy":
        return read_npy_value(path)
    if kind == "numpy archive":
        names = npz_names(path)
        wanted = [name for name in ARCHIVE_KEYS if name in names]
        if not wanted:
            raise CheckpointError(
                f"{path} has no array called {KEYS[0]!r}, but {', '.join(names[:MANY])}. "
                f"Save it with: numpy.savez(file, {KEYS[0]}=ws)"
            )
        return read_npz(path, wanted[:1])
    if kind in ("torch", "pickle"):
        return (open_torch if kind == "torch" else open_pickle)(path).take_all()
    if kind == "safetensors":
        return read_safetensors(path)[0]
    kind_of(path)  # says what it is
    raise CheckpointError(f"{path} holds no latents; expected .npz, .npy or .pt of a projector or an encoder.")


def _found(value: Any, path: Path) -> Iterator[_Found]:
    """The parts that may be latents, in the file's order."""
    parts = list(_parts(value))
    if not parts:
        raise CheckpointError(
            f"{path} holds no latents; found {described(value)}, expected numbers, alone or by the name "
            f"{' or '.join(map(repr, KEYS[:3]))}. A network is given with --network."
        )
    yield from parts


def _parts(value: Any, name: str = "") -> Iterator[_Found]:
    if _is_numbers(value):
        yield _Found(name, value)
    elif isinstance(value, dict):
        key = next((key for key in KEYS if key in value and _is_numbers(value[key])), None)
        if key is not None:
            yield _Found(name, value[key], value.get(NOISE), key)
        elif not name and all(map(_is_numbers, value.values())):
            if len({tuple(part.shape) for part in value.values()}) == 1:  # a network's weights are of many shapes
                yield from (_Found(str(inner), part) for inner, part in value.items())
        elif not name:
            for inner, part in value.items():
                yield from _parts(part, str(inner)) if isinstance(part, (dict, list, tuple)) else ()
    elif isinstance(value, (list, tuple)) and value and all(map(_is_numbers, value)):
        if name:  # ReStyle's: one latent for every step, of which the last counts
            yield _Found(name, value[-1])
        else:
            yield from (_Found(str(index), part) for index, part in enumerate(value))
    elif isinstance(value, np.ndarray) and not name:
        for index, part in enumerate(value.ravel().tolist()):
            yield from _parts(part, str(index))


def _is_numbers(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and value.ndim > 0 and value.numel() > 0
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.ndim > 0 and value.size > 0


def _as_ws(found: _Found, network: Generator, path: Path) -> Tensor:
    """[w_dim], [L, w_dim], [N, w_dim] or [N, L, w_dim], sides of 1 before the last not counted, as ws [N, L, w_dim]."""
    layers, width = network.num_ws, network.w_dim
    numbers = found.numbers if isinstance(found.numbers, Tensor) else torch.from_numpy(np.array(found.numbers))
    *sides, last = numbers.shape
    sides = [side for side in sides if side != 1]
    name = f"{found.name or found.key} in {path}" if found.name or found.key else str(path)
    if last != width or len(sides) > 2 or (len(sides) == 2 and sides[1] != layers):
        raise ShapeError(
            f"{name} has shape {list(numbers.shape)}; this network reads [1, {layers}, {width}]. It is a latent of "
            "another network. Name that one with --network."
        )
    values = numbers.detach().float()
    if not values.isfinite().all():
        raise CheckpointError(f"{name} holds values that are not finite. Invert the photo again.")
    if sides and sides[-1] == layers:
        return values.reshape(-1, layers, width)
    return values.reshape(-1, 1, width).repeat(1, layers, 1)


def _as_noise(noise: Any, network: Generator) -> tuple[Tensor, ...] | None:
    """Noise that was saved beside a latent, where it is this network's kind; else None."""
    own = [tuple(level.shape) for level in network.synthesis.noise_buffers]
    if not isinstance(noise, (list, tuple)) or not all(isinstance(level, Tensor) for level in noise):
        return None
    levels = tuple(level.detach().float() for level in noise)
    fits = [tuple(level.shape) for level in levels] == own and all(bool(level.isfinite().all()) for level in levels)
    return levels if fits and own else None


def _numbered(entry: str, names: list[str], path: Path) -> int:
    """The place of an entry among the names of a file's faces."""
    for known in (names, [PurePosixPath(name).name for name in names], [PurePosixPath(name).stem for name in names]):
        if known.count(entry) == 1:
            return known.index(entry)
    if entry.isascii() and entry.isdigit() and int(entry[:9]) < len(names):
        return int(entry[:9])
    raise UnknownNameError(f"face of {path}", entry, names[:MANY], "A number counted from 0 works too.")
