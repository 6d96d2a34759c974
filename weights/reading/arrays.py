"""NumPy files of others as data: lengths are believed only where the file has them, and no object is unpickled."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.lib.format as npy

from relatent.core.archive import Archive, ArchiveError
from relatent.core.errors import CheckpointError

MAX_BYTES = 2**28  # of one array; GANSpace's 80 components of 512 numbers take 160 kB
MAX_TABLE_BYTES = 2**20  # of a .npz file's table of contents; some ten thousand arrays
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(path: Path) -> np.ndarray:
    """The numbers of a ``.npy`` file, float32.

    Raises:
        CheckpointError: missing, damaged, too large, or holding Python objects, which only a pickle could make.
    """
    _require_file(path)
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes; expected a direction, at most {MAX_BYTES}.")
    return _numbers(path.read_bytes(), str(path))


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those arrays of a ``.npz`` file that are named and there, float32; raises as :func:`read_npy` does."""
    _require_file(path)
    found = {}
    try:
        with Archive(path, MAX_TABLE_BYTES) as archive:
            members = {member.filename: member for member in archive.members if member.file_size <= MAX_BYTES}
            for name in names:
                if f"{name}.npy" in members:
                    found[name] = _numbers(archive.read(members[f"{name}.npy"], MAX_BYTES), f"{name} of {path}")
    except ArchiveError as error:
        raise CheckpointError(
            f"{path} is not a readable .npz file ({error!s:.120}). Copy or download it again."
        ) from error
    return found


def _require_file(path: Path) -> None:
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {state}; expected a direction's file.")


def _numbers(data: bytes, name: str) -> np.ndarray:
    """The array of a ``.npy`` file's bytes."""
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = READERS[npy.read_magic(stream)](stream)
    except (ValueError, KeyError, EOFError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{name} is not a readable .npy array ({error!s:.120}). Copy it again.") from error
    if dtype.hasobject:
        raise CheckpointError(
            f"{name} holds Python objects, which are never loaded: unpickling them may run anything. Where you trust "
            "it, save its numbers alone: numpy.save(new, numpy.asarray(array, dtype='float32'))."
        )
    if dtype.kind not in "fiu":
        raise CheckpointError(f"{name} holds {dtype}; expected numbers.")
    values = data[stream.tell() :]
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(values):
        raise CheckpointError(f"{name} says it is {dtype} {list(shape)}, but has {len(values)} bytes. Copy it again.")
    array = np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype=np.float32, order="C")
