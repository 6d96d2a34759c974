"""NumPy files of others as data: lengths are believed only where the file has them, and no object is unpickled.

What ``numpy.save`` makes of Python objects is a pickle: it is read as plain data, by the same machine as networks.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy

from relatent.core.archive import Archive, ArchiveError
from relatent.core.errors import CheckpointError
from weights.reading.pickles import read_bytes

MAX_BYTES = 2**28  # of one array; GANSpace's 80 components of 512 numbers take 160 kB
MAX_TABLE_BYTES = 2**20  # of a .npz file's table of contents; some ten thousand arrays
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
SUFFIX = ".npy"  # of every member of a .npz


def read_npy(path: Path) -> np.ndarray:
    """The numbers of a ``.npy`` file, float32.

    Raises:
        CheckpointError: missing, damaged, too large, or holding something else than numbers.
    """
    return _numbers(read_npy_value(path), str(path))


def read_npy_value(path: Path) -> Any:
    """What a ``.npy`` file holds: an array of numbers, or the plain data in an array of objects.

    A single object, such as the dict that ReStyle saves, comes as itself, more of them as an array of objects.

    Raises:
        CheckpointError: missing, damaged, too large, or holding what is no plain data.
    """
    _require_file(path)
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes; expected at most {MAX_BYTES}. Split it.")
    return _value(path.read_bytes(), str(path), path)


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays ``names`` of a ``.npz`` file, as far as present, float32; raises as :func:`read_npy` does."""
    _require_file(path)
    found = {}
    with _zip_errors(path), Archive(path, MAX_TABLE_BYTES) as archive:
        members = {member.filename: member for member in archive.members if member.file_size <= MAX_BYTES}
        for name in names:
            if f"{name}{SUFFIX}" in members:
                data, called = archive.read(members[f"{name}{SUFFIX}"], MAX_BYTES), f"{name} of {path}"
                found[name] = _numbers(_value(data, called, path), called)
    return found


def npz_names(path: Path) -> list[str]:
    """The arrays of a ``.npz`` file; raises as :func:`read_npy` does."""
    _require_file(path)
    with _zip_errors(path), Archive(path, MAX_TABLE_BYTES) as archive:
        names = [member.filename for member in archive.members]
    return [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]


@contextmanager
def _zip_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise CheckpointError(
            f"{path} is not a readable .npz file ({error!s:.120}). Copy or download it again."
        ) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {state}; expected a file of numbers.")


def _value(data: bytes, name: str, path: Path) -> Any:
    """What the bytes of a ``.npy`` file say."""
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = READERS[npy.read_magic(stream)](stream)
    except (ValueError, KeyError, EOFError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{name} is not a readable .npy array ({error!s:.120}). Copy it again.") from error
    values = data[stream.tell() :]
    if dtype.hasobject:
        return _objects(values, name, path)
    if dtype.kind not in "fiub":
        raise CheckpointError(f"{name} holds {dtype}; expected numbers.")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(values):
        raise CheckpointError(f"{name} says it is {dtype} {list(shape)}, but has {len(values)} bytes. Copy it again.")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")


def _objects(data: bytes, name: str, path: Path) -> Any:
    """What the pickle in a ``.npy`` file says."""
    try:
        value = read_bytes(data, path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{name} holds Python objects, which are never loaded, only read as data: {error}"
        ) from error
    if not isinstance(value, np.ndarray):
        raise CheckpointError(f"{name} holds a {type(value).__name__}; expected an array. Save it again.")
    return value.item() if value.dtype.hasobject and value.size == 1 else value


def _numbers(value: Any, name: str) -> np.ndarray:
    """An array of numbers, float32; nested lists of them, as arrays of objects may hold, are as good."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return np.array(value, dtype=np.float32, order="C")
    try:
        array = np.array(value.tolist() if isinstance(value, np.ndarray) else value)
    except (ValueError, TypeError):  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        raise CheckpointError(
            f"{name} holds Python objects (a {type(value).__name__}), which are never loaded: only numbers among them "
            "are read. Save those alone: numpy.save(new, numpy.asarray(numbers, dtype='float32'))"
        )
    return np.array(array, dtype=np.float32, order="C")
